"""Labels and urgencies from ``taxonomy.toml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.errors import TaxonomyError
from triage.taxonomy import Taxonomy, Urgency
from triage.testing import keyword_taxonomy

DATA = Path(__file__).parents[2] / "data"
LABEL = '[[label]]\nid = "{}"\nname = "名"\nname_en = "Name"\ndispatch = true\nunit = "单位"\nunit_en = "Unit"\n'
URGENCY = "".join(f'[[urgency]]\nid = "{item}"\nname = "名"\n' for item in Urgency)


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.load(DATA)


def test_the_shipped_taxonomy(taxonomy: Taxonomy) -> None:
    assert taxonomy.ids == ("traffic", "public_safety", "fire_hazard", "telecom_fraud", "other")
    assert taxonomy.dispatch_ids == ("traffic", "public_safety", "fire_hazard", "telecom_fraud")
    fraud = taxonomy["telecom_fraud"]
    assert (fraud.name, fraud.unit, fraud.floor, fraud.floor_reason) == (
        "涉嫌电信网络诈骗",
        "反诈中心",
        0.30,
        "fraud_floor",
    )
    assert taxonomy["other"].floor is None
    assert taxonomy.urgency_names == {Urgency.EMERGENCY: "紧急", Urgency.URGENT: "较急", Urgency.ROUTINE: "一般"}


def test_the_double_knows_the_shipped_taxonomy(taxonomy: Taxonomy) -> None:
    assert keyword_taxonomy() == taxonomy


def test_the_file_may_be_named_itself(taxonomy: Taxonomy) -> None:
    assert Taxonomy.load(DATA / "taxonomy.toml") == taxonomy


def test_an_unknown_label_names_the_known_ones(taxonomy: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match="未知标签 'fire'，可用的标签：traffic、.*known labels: traffic, "):
        taxonomy["fire"]


def test_urgencies_are_ordered_from_the_most_urgent() -> None:
    assert [item.value for item in Urgency] == ["emergency", "urgent", "routine"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not toml [",
        LABEL.format("a") + URGENCY,
        LABEL.format("a") * 2 + URGENCY,
        LABEL.format("a") + LABEL.format("b"),
        LABEL.format("a") + LABEL.format("b") + URGENCY.replace("routine", "sometime"),
        LABEL.format("a") + LABEL.format("b").replace("unit_en", "unit_zh") + URGENCY,
        LABEL.format("a") + 'colour = "red"\n' + LABEL.format("b") + URGENCY,
        LABEL.format("a") + '[[label]]\nid = "b"\n' + URGENCY,
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "taxonomy.toml").write_text(content, encoding="utf-8")
    with pytest.raises(TaxonomyError, match=r"标签文件 taxonomy.toml 无法读取"):
        Taxonomy.load(tmp_path)


def test_a_missing_file_and_wrong_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="无法读取"):
        Taxonomy.load(tmp_path / "none.toml")
    (tmp_path / "taxonomy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TaxonomyError, match="无法读取"):
        Taxonomy.load(tmp_path)


def test_two_labels_are_enough(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.toml").write_text(LABEL.format("a") + LABEL.format("b") + URGENCY, encoding="utf-8")
    assert Taxonomy.load(tmp_path).ids == ("a", "b")
