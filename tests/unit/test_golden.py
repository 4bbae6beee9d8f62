"""Golden outputs: what counts as drift."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from triage import golden
from triage.decision import Decision
from triage.errors import ReleaseCorrupt, ReleaseDrift
from triage.taxonomy import Urgency
from triage.testing import KeywordEngine

TEXTS = ["让我转到安全账户", "消防通道着火", "有人打架", "今天天气好"]


class Shifted(KeywordEngine):
    """A double whose scores and labels differ from machine to machine."""

    def __init__(self, shift: float = 0.0, rows: Sequence[int] = (), **fields: Any) -> None:
        super().__init__()
        self.shift, self.rows, self.fields = shift, rows, fields

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        said = super().classify(texts)
        for row in self.rows or range(len(said)):
            scores = dict(said[row].scores)
            scores[said[row].label] -= self.shift
            said[row] = replace(said[row], **{"scores": scores, **self.fields})
        return said


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return golden.record(KeywordEngine(), TEXTS)


def test_rows_are_as_agreed(rows: list[dict[str, Any]]) -> None:
    assert [list(row) for row in rows] == [["text", "label", "route", "urgency", "scores"]] * 4
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == ["telecom_fraud", "fire_hazard", "public_safety", "other"]
    assert [row["urgency"] for row in rows] == ["routine", "emergency", "routine", "routine"]
    assert rows[0]["scores"]["telecom_fraud"] == 0.990182


def test_the_same_engine_does_not_drift(rows: list[dict[str, Any]]) -> None:
    report = golden.compare(KeywordEngine(), rows)
    assert (report.version, report.rows, report.firm) == ("keyword-1", 4, 4)
    assert (report.labels, report.unfirm_labels, report.routes, report.urgencies) == ((), (), (), ())
    assert report.max_difference < 1e-6
    assert not report.drifted
    report.require()


@pytest.mark.parametrize(
    ("shift", "shifted", "drifted"),
    [
        (0.049, [1], False),
        (0.05, [1], False),
        (0.051, [1], True),
        (0.049, [], False),  # a fifth of it on average: one score of five
        (-0.051, [2], True),
    ],
)
def test_scores_may_differ_a_little(
    rows: list[dict[str, Any]], shift: float, shifted: list[int], drifted: bool
) -> None:
    report = golden.compare(Shifted(shift, shifted), rows)
    assert report.max_difference == pytest.approx(abs(shift), abs=2e-6)
    assert report.mean_difference == pytest.approx(abs(shift) * len(shifted or rows) / 20, abs=2e-6)
    assert report.drifted is drifted


def test_the_mean_has_its_own_limit(rows: list[dict[str, Any]]) -> None:
    limits = golden.Limits(max_difference=1.0)
    assert not golden.compare(Shifted(0.05), rows, limits).drifted
    assert golden.compare(Shifted(0.051), rows, limits).drifted


def test_a_firm_label_must_be_equal(rows: list[dict[str, Any]]) -> None:
    report = golden.compare(Shifted(0.0, [2], label="traffic"), rows)
    assert (report.labels, report.unfirm_labels, report.drifted) == ((3,), (), True)
    with pytest.raises(ReleaseDrift, match="keyword-1 在本机的结果与发布时不同：1 条标签不同") as caught:
        report.require()
    assert not any(text in str(caught.value) for text in TEXTS)


@pytest.mark.parametrize(("best", "drifted"), [(0.55, True), (0.549, False)])
def test_a_label_on_the_edge_may_tip(best: float, drifted: bool) -> None:
    row = golden.record(KeywordEngine(), TEXTS[:1])[0]
    row["scores"] = {"telecom_fraud": best, "other": 1 - best}
    report = golden.compare(Shifted(0.0, [0], label="other", scores={"telecom_fraud": best, "other": 1 - best}), [row])
    assert report.drifted is drifted
    assert (report.labels, report.unfirm_labels) == (((1,), ()) if drifted else ((), (1,)))


def test_routes_and_urgencies_are_told_but_are_no_drift(rows: list[dict[str, Any]]) -> None:
    report = golden.compare(Shifted(0.0, [0, 3], route="review", urgency=Urgency.URGENT), rows)
    assert (report.routes, report.urgencies, report.drifted) == ((1, 4), (1, 4), False)


@pytest.mark.parametrize("scores", [{"telecom_fraud": float("nan")}, {"telecom_fraud": 1.0}, {"another": 1.0}])
def test_missing_and_absurd_scores_are_drift(rows: list[dict[str, Any]], scores: dict[str, float]) -> None:
    report = golden.compare(Shifted(0.0, [0], scores=scores), rows)
    assert report.drifted
    assert report.to_json()["max_difference"] is None
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["drifted"] is True


def test_nothing_to_compare_is_no_success() -> None:
    with pytest.raises(ReleaseCorrupt, match="没有可比较"):
        golden.compare(KeywordEngine(), [])


def test_the_file_reads_back(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    assert golden.load(path) == rows


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "5",
        '{"text": "机密"}',
        '{"text": 1, "label": "a", "route": "auto", "urgency": "routine", "scores": {"a": 1, "b": 0}}',
        '{"text": "机密", "label": "a", "route": "auto", "urgency": "routine", "scores": {"a": 1}}',
        '{"text": "机密", "label": "a", "route": "auto", "urgency": "routine", "scores": {"a": "x", "b": 0}}',
        '{"text": "机密", "label": "a", "route": "auto", "urgency": "routine", "scores": [1, 2]}',
    ],
)
def test_a_damaged_row_is_named_without_its_text(tmp_path: Path, rows: list[dict[str, Any]], line: str) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ReleaseCorrupt, match=r"golden.jsonl 第 2 行无法读取") as caught:
        golden.load(path)
    assert "机密" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff"])
def test_an_empty_or_undecodable_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=r"golden.jsonl"):
        golden.load(path)
