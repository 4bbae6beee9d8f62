"""Which column holds what, which value means what, and what is hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from training import corpus
from training.evaluate import load_gold
from training.exchange import Mapping, export_file
from training.exchange.mapping import Vocabulary
from training.exchange.masking import Masker
from triage.errors import CorpusError
from triage.taxonomy import Taxonomy

from .conftest import Import

TABLE = """编号,诉求内容,类别,紧急程度,来源类型,另涉,上报时间,街道
A1,三楼楼道堆满纸箱,火灾隐患,紧急,热线,交警类、治安,2026/11/1 8:05,城关
A2,路口有人闯红灯,交警类,特急,,,,城北
"""
TABLES = """keep = ["街道"]
[columns]
text = "诉求内容"
[labels]
"交警类" = "traffic"
"治安" = "治安与公共安全"
[urgency]
"特急" = "emergency"
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    (tmp_path / "map.toml").write_text(TABLES, encoding="utf-8")
    return Mapping.load(tmp_path / "map.toml")


def test_columns_are_found_and_values_mean_what_the_tables_and_the_taxonomy_say(
    bring: Import, mapping: Mapping, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(TABLE, encoding="gbk")
    summary, rows, aside = bring(tmp_path / "x.csv", mapping)
    assert aside == []
    assert rows == [
        {
            "id": corpus.message_id("三楼楼道堆满纸箱"),
            "text": "三楼楼道堆满纸箱",
            "label": "fire_hazard",
            "secondary": ["traffic", "public_safety"],
            "urgency": "emergency",
            "register": "hotline",
            "time": "2026-11-01T08:05:00",
            "source_id": "A1",
            "街道": "城关",
        },
        {
            "id": corpus.message_id("路口有人闯红灯"),
            "text": "路口有人闯红灯",
            "label": "traffic",
            "urgency": "emergency",
            "source_id": "A2",
            "街道": "城北",
        },
    ]
    assert summary.columns["label"] == "类别"
    assert summary.unused == (), "what is kept is read"
    assert (summary.by_label, summary.fields["register"]) == ({"fire_hazard": 1, "traffic": 1}, 1)


def test_an_imported_file_is_what_evaluate_and_the_corpus_read(bring: Import, mapping: Mapping, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TABLE, encoding="utf-8")
    bring(tmp_path / "x.csv", mapping)
    first, second = load_gold(tmp_path / "out.jsonl")
    assert (first.secondary, first.urgency, first.register) == (("traffic", "public_safety"), "emergency", "hotline")
    assert (second.secondary, second.register) == (None, ""), "what nobody told is not measured"
    loaded = corpus.load(tmp_path / "out.jsonl")
    assert [(m.label, m.secondary, m.register) for m in loaded] == [
        ("fire_hazard", ("traffic", "public_safety"), "hotline"),
        ("traffic", (), ""),
    ]


def test_a_saved_mapping_is_the_same_again(mapping: Mapping, tmp_path: Path) -> None:
    awkward = Mapping({"text": '"内容"\\\n', "time": ""}, ("*",), {"a=b #": "other"}, mapping.values)
    for given in (mapping, awkward, Mapping()):
        given.save(tmp_path / "saved.toml")
        assert Mapping.load(tmp_path / "saved.toml") == given


@pytest.mark.parametrize("text", ['"交警类" = "traffic"\n', '[labels]\n"交警类" = "traffic"\n'])
def test_a_label_table_may_be_a_file_of_its_own(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.toml").write_text(text, encoding="utf-8")
    assert Mapping(labels={"治安": "other"}).with_labels(tmp_path / "labels.toml").labels == {
        "治安": "other",
        "交警类": "traffic",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("columns = 3\n", r"\[columns\] is not a table"),
        ("colums = 3\n", "unknown keys colums"),
        ("keep = 'a'\n", "keep is not a list"),
        ("[columns]\nwhere = 'a'\n", "there is no field where"),
        ("[columns]\ntext = ''\n", "the field text needs"),
        ("not toml", "cannot use the mapping m.toml"),
    ],
)
def test_a_mapping_that_is_none_says_so(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match=says):
        Mapping.load(tmp_path / "m.toml")


def test_a_table_that_leads_nowhere_is_refused_by_name(taxonomy: Taxonomy) -> None:
    with pytest.raises(CorpusError, match="label maps 内涝 to flood, which does not exist; use one of traffic"):
        Vocabulary(Mapping(labels={"内涝": "flood"}), taxonomy)


@pytest.mark.parametrize("name", ["traffic", "道路交通", "Road traffic", " TRAFFIC ", "ｔｒａｆｆｉｃ"])
def test_ids_and_names_need_no_table(taxonomy: Taxonomy, name: str) -> None:
    assert Vocabulary(Mapping(), taxonomy)["label", name] == "traffic"


def test_personal_data_is_hidden_everywhere_unless_it_is_wanted(bring: Import, data: Path, tmp_path: Path) -> None:
    row = {"text": "打13812345678找我", "label": "other", "id": "13812345678", "note": "车牌粤B12345", "author": "w1a1"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row), encoding="utf-8")
    keep = Mapping(keep=("note",))
    summary, (hidden,), _ = bring(tmp_path / "x.jsonl", keep, Masker.load(data))
    assert hidden["text"] == "打138****5678找我"
    assert (hidden["source_id"], hidden["note"], hidden["author"]) == ("138****5678", "车牌粤B***45", "w1a1")
    assert hidden["id"] == corpus.message_id(hidden["text"])
    assert summary.hidden == 3
    summary, (left,), _ = bring(tmp_path / "x.jsonl", keep)
    assert (left["text"], left["note"], summary.hidden) == ("打13812345678找我", "车牌粤B12345", None)


@pytest.mark.parametrize(
    ("real", "hidden"),
    [
        ("打13800001234找我", "打138****1234找我"),
        ("车牌粤B00012的车占道", "车牌粤B***12的车占道"),
        ("发到wang@example.com", "发到w***@example.com"),
    ],
)
def test_rules_of_the_own_corpus_exempt_nobody_elses_numbers(
    bring: Import, data: Path, tmp_path: Path, real: str, hidden: str
) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": real, "label": "other"}), encoding="utf-8")
    summary, (row,), _ = bring(tmp_path / "x.jsonl", masker=Masker.load(data))
    assert (row["text"], summary.hidden) == (hidden, 1)
    (tmp_path / "y.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert bring(tmp_path / "y.jsonl", masker=Masker.load(data))[1] == [row], "hiding again changes nothing"


def test_repeated_texts_are_kept_and_counted(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,other\nb,other\na,traffic\n", encoding="utf-8")
    summary, rows, _ = bring(tmp_path / "x.csv")
    assert (len(rows), summary.repeated) == (3, 1)


def test_labels_that_datasets_keeps_as_numbers_have_their_names(bring: Import, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["道路交通", "other"])})
    part = Dataset.from_dict({"text": ["撞车了", "天气好"], "label": [0, 1]}, features=features)
    part.to_parquet(tmp_path / "x.parquet")
    DatasetDict(train=part, test=part).save_to_disk(tmp_path / "saved")
    for name, labels in (("x.parquet", ["traffic", "other"]), ("saved", ["traffic", "other"] * 2)):
        _, rows, aside = bring(tmp_path / name, Mapping(keep=("split",) if name == "saved" else ()))
        assert (aside, [row["label"] for row in rows]) == ([], labels)
    assert [row["split"] for row in rows] == ["train", "train", "test", "test"]


def test_a_label_studio_control_of_any_name_is_the_label(bring: Import, tmp_path: Path) -> None:
    result = [{"from_name": "what", "to_name": "t", "type": "choices", "value": {"choices": ["火灾隐患"]}}]
    tasks = [
        {"id": 9, "data": {"内容": "楼道堆物", "id": "A7"}, "annotations": [{"result": result}, {"result": result}]},
        {
            "id": 10,
            "data": {"内容": "电瓶车上楼", "id": "A8"},
            "annotations": [{"result": result, "ground_truth": True}, {"result": []}],
        },
    ]
    (tmp_path / "x.json").write_text(json.dumps(tasks), encoding="utf-8")
    _, rows, aside = bring(tmp_path / "x.json")
    assert aside == []
    assert [(row["label"], row["source_id"]) for row in rows] == [("fire_hazard", "A7"), ("fire_hazard", "A8")]


def test_json_min_of_annotators_that_agree_is_one_row(bring: Import, tmp_path: Path) -> None:
    tool = {"annotator": 1, "created_at": "2026-11-01", "updated_at": "x", "lead_time": 3.5, "id": 4}
    made = [{"text": "楼道堆物", "label": "fire_hazard", **tool, "annotation_id": n} for n in (1, 2)]
    (tmp_path / "x.json").write_text(json.dumps(made), encoding="utf-8")
    _, rows, aside = bring(tmp_path / "x.json")
    assert (len(rows), aside, "time" in rows[0], "source_id" in rows[0]) == (1, [], False, False)


def test_drafts_of_argilla_do_not_count(bring: Import, tmp_path: Path) -> None:
    row = {
        "text": "楼道堆物",
        "label.responses": ["traffic", "fire_hazard"],
        "label.responses.users": ["a", "b"],
        "label.responses.status": ["draft", "submitted"],
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(row), encoding="utf-8")
    _, rows, aside = bring(tmp_path / "x.jsonl")
    assert (aside, rows[0]["label"]) == ([], "fire_hazard")


def test_what_is_written_for_tools_is_as_they_document_it(tmp_path: Path) -> None:
    row = {"id": corpus.message_id("楼道堆物"), "text": "楼道堆物", "label": "fire_hazard", "grid": "G1"}
    (tmp_path / "in.jsonl").write_text(json.dumps(row), encoding="utf-8")
    for kind, name in (("label-studio", "l.json"), ("argilla", "a.json"), ("doccano", "d.jsonl")):
        export_file(tmp_path / "in.jsonl", tmp_path / name, kind=kind)
    (task,) = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))
    assert task["data"]["text"] == "楼道堆物"
    assert task["annotations"][0]["result"] == [
        {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["fire_hazard"]}}
    ]
    (record,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (record["fields"], record["metadata"]) == ({"text": "楼道堆物"}, {"grid": "G1"})
    assert record["responses"]["label"][0]["value"] == "fire_hazard"
    example = json.loads((tmp_path / "d.jsonl").read_text(encoding="utf-8"))
    assert example == {"text": "楼道堆物", "label": ["fire_hazard"], "grid": "G1"}
