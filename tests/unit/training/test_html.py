"""The report: whole in one file, nothing from outside, nothing that a file brought is taken for markup."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from training.compare import Comparison, assess, compare
from training.evaluate import Answered, Gold
from training.html import render
from training.intervals import Resampling
from training.plots import curves
from triage.decision import Decision

IDS = ("traffic", "telecom_fraud", "other")
HOSTILE = "<script>alert('偷')</script><img src=https://evil.example/x onerror=alert(1)>\"'&"
FEW = Resampling(resamples=50)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of it: elements, attributes, words; raises where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data if data.strip() else " "


def answered(labels: list[str], model: str) -> Answered:
    truth = ["traffic"] * 8 + ["telecom_fraud"] * 6 + ["other"] * 6
    gold = [
        Gold(f"{HOSTILE} 正文{n}", label, None, None, HOSTILE if n % 2 else "sms", n + 1, {"id": f"{HOSTILE}{n}"})
        for n, label in enumerate(truth)
    ]
    said = [Decision(label, 0.6, {label: 0.6}, route="auto", model=model) for label in labels]
    return Answered(gold, said)


BEFORE = ["traffic"] * 6 + ["other"] * 2 + ["telecom_fraud"] * 2 + ["other"] * 10
AFTER = ["traffic"] * 7 + ["other"] * 1 + ["telecom_fraud"] * 6 + ["other"] * 5 + ["traffic"]


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(answered(BEFORE, "2026.11.6"), answered(AFTER, HOSTILE), IDS, resampling=FEW)


@pytest.fixture(scope="module")
def text(found: Comparison) -> str:
    texts = {HOSTILE: {change.row: f"{HOSTILE} 正文{change.row}" for change in found.changes}}
    return render({HOSTILE: found}, {"traffic": "道路交通", "other": HOSTILE}, "2026-11-28", texts)


def test_nothing_comes_from_outside(text: str) -> None:
    page = Page(text)
    references = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert len(references) == 2
    assert all(value.startswith(("data:image/svg+xml;base64,", "#file-")) for value in references)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    # And a browser is told so.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("content", policy) in page.attributes


def test_the_picture_is_whole_in_itself(text: str) -> None:
    (picture,) = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text)
    svg = base64.b64decode(picture).decode()
    assert svg.startswith("<svg")
    # Names of the vocabulary, which nobody fetches, and no other address.
    assert set(re.findall(r"https?://[^\"'<> ]+", svg)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert all(target.startswith("#") for target in re.findall(r'xlink:href="([^"]*)"', svg))


def test_hostile_words_are_words(text: str) -> None:
    page = Page(text)
    # The name of the release and of the file, a register, ids and texts: each place shows what stood in the file.
    assert page.words.count("<script>alert('偷')</script>") > 8
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert f"{HOSTILE} 正文7" in page.words


def test_the_figures_stand_there(found: Comparison, text: str) -> None:
    words = re.sub(r"\s+", " ", Page(text).words)
    assert "版本比较 Comparison of releases" in words
    assert "修正 fixed 5 · 改坏 broken 1 · p = 0.219" in words
    difference = found.whole.estimates["macro_f1"]
    assert difference.value is not None
    assert f"宏平均 F1 macro-F1 {found.measured[0]['macro_f1']:.3f}" in words
    assert f"+{difference.value:.3f}" in words
    for heading in ("混淆矩阵 Confusion", "按类别 label", "按语体 register", "按长度", "判定翻转的消息"):
        assert heading in words
    assert "traffic 道路交通" in words


def test_without_texts_there_is_no_text(found: Comparison) -> None:
    page = render({"test": found}, {}, "2026-11-28")
    assert "正文1" not in page
    assert "正文 text" not in page
    assert "改坏 broken" in page


def test_the_same_figures_make_the_same_page(found: Comparison) -> None:
    assert render({"test": found}, {}, "2026-11-28") == render({"test": found}, {}, "2026-11-28")


def test_one_release_has_a_page_of_its_own() -> None:
    one = assess(answered(BEFORE, "2026.11.6"), IDS, resampling=FEW)
    page = Page(render({"a": one, "b": replace(one, releases=("2026.11.6",))}, {}, "2026-11-28"))
    words = re.sub(r"\s+", " ", page.words)
    assert "版本评测 Evaluation of a release" in words
    accuracy = one.whole.estimates["accuracy"]
    assert f"准确率 accuracy 0.700 [{accuracy.low:.3f}, {accuracy.high:.3f}]" in words
    assert "McNemar" not in words
    assert "判定翻转" not in words
    assert page.tags.count("img") == 2


def test_two_releases_are_told_apart_in_both_pictures_on_paper_too(found: Comparison) -> None:
    svg = curves(dict(zip("AB", found.measured, strict=True))).decode()
    left, right = svg[svg.index('id="axes_1"') :].split('id="axes_2"')
    for axes in (left, right):
        strokes = set(re.findall(r"stroke-dasharray: ([0-9.,]+)[^\"]*stroke: (#[0-9a-f]+)", axes))
        assert {"#ff7f0e"} <= {colour for _, colour in strokes}
        assert "#1f77b4" not in {colour for _, colour in strokes}
        assert "stroke: #1f77b4" in axes
