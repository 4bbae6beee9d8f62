"""Text in, ids out: windows, their overlap, and the way back to the raw text."""

from __future__ import annotations

from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from triage.errors import ReleaseCorrupt
from triage.model.encoding import Encoding, Window, canonical
from triage.text import Normalized, Normalizer

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True, database=None)
DISGUISED = "\u200b ＡＰＰ让我加薇❤信，转１２０００元\u200d！！！！！去www.abc-d.com/x?1交6222021234567890123"


@pytest.fixture(scope="module")
def file(tiny_base: Path) -> Path:
    return tiny_base / "tokenizer.json"


@pytest.fixture(scope="module")
def normalizer(data: Path) -> Normalizer:
    return Normalizer.load(data / "lexicon")


def as_it_is(text: str) -> Normalized:
    """A text that normalization would not change."""
    return Normalized(text, text, array("I", range(len(text))), array("I", range(1, len(text) + 1)))


def inside(window: Window) -> list[tuple[int, tuple[int, int]]]:
    """Tokens with their spans, without the special ones."""
    return list(zip(window.ids, window.spans, strict=True))[1:-1]


def test_a_short_text_is_one_window_between_the_special_tokens(file: Path) -> None:
    encoding = Encoding.load(file, max_tokens=8, overlap=2)
    ((window,),) = encoding.windows([as_it_is("消防通道着火")])
    known = encoding.tokenizer.token_to_id
    assert window.ids == (known("<s>"), *map(known, "消防通道着火"), known("</s>"))
    assert window.spans == ((0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (0, 0))
    assert window.read == (0, 6)
    assert encoding.unknown == known("<unk>")


def test_one_token_too_many_makes_a_second_window(file: Path) -> None:
    encoding = Encoding.load(file, max_tokens=8, overlap=2)
    ((first, second),) = encoding.windows([as_it_is("消防通道着火了")])
    assert (first.read, second.read) == ((0, 6), (4, 7))


@PROPERTY
@given(length=st.integers(0, 400), max_tokens=st.integers(8, 64), share=st.floats(0, 0.999))
def test_windows_cover_every_token_with_the_overlap_asked_for(
    file: Path, length: int, max_tokens: int, share: float
) -> None:
    overlap = int(share * (max_tokens // 2))
    encoding = Encoding.load(file, max_tokens, overlap)
    (windows,) = encoding.windows([as_it_is(("消防" * length)[:length])])
    parts = [inside(window) for window in windows]
    assert all(len(window.ids) <= max_tokens for window in windows)
    assert all(len(window.ids) == max_tokens for window in windows[:-1]), "only the last may be shorter"
    assert all((a[-overlap:] if overlap else []) == b[:overlap] for a, b in pairwise(parts))
    stitched = parts[0] + [token for part in parts[1:] for token in part[overlap:]]
    assert [span for _, span in stitched] == [(i, i + 1) for i in range(length)]
    assert all(len(part) > overlap for part in parts[1:]), "no window repeats the one before"


def test_spans_are_those_of_the_raw_text(file: Path, normalizer: Normalizer) -> None:
    message = normalizer(DISGUISED)
    ((window,),) = Encoding.load(file).windows([message])
    read = [DISGUISED[start:end] for _, (start, end) in inside(window)]
    assert canonical(message.text).text == "APP让我加微信,转12000元!!!去网址交号码"
    assert read == [
        "Ａ", "Ｐ", "Ｐ", "让", "我", "加", "薇", "信", "，", "转", "１", "２", "０", "０", "０", "元",
        *["！！！！！"] * 3, "去", *["www.abc-d.com/x?1"] * 2, "交", *["6222021234567890123"] * 2,
    ]  # fmt: skip
    assert window.read == (2, len(DISGUISED))


PIECES = [*DISGUISED, "薇❤信", "一三八零零零零零零零零", "㋀", "é", "e\u0301", "\n", "www.a.cn", "😀", "𠮷", "ß"]


@PROPERTY
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=40))
def test_spans_never_go_back(file: Path, normalizer: Normalizer, pieces: list[str]) -> None:
    raw = "".join(pieces)
    (windows,) = Encoding.load(file, max_tokens=16, overlap=4).windows([normalizer(raw)])
    for window in windows:
        spans = [span for _, span in inside(window)]
        assert all(0 <= start < end <= len(raw) for start, end in spans)
        assert spans == sorted(spans)
        assert [end for _, end in spans] == sorted(end for _, end in spans)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("app和App", "APP和APP"),
        ("ß不变", "ß不变"),
        ("见https://a.cn/b?c=1，快", "见网址，快"),
        ("上baidu.com看", "上网址看"),
        ("发到ab@baidu.com", "发到AB@BAIDU.COM"),
        ("3.5元", "3.5元"),
        ("110119和1101190", "110119和号码"),
        ("快！！！来！！！！", "快！！！来！！！"),
        ("哈哈哈哈哈aaaa", "哈哈哈AAAA"),
        ("", ""),
    ],
)
def test_what_carries_no_meaning_is_made_canonical(text: str, read: str) -> None:
    found = canonical(text)
    assert found.text == read
    assert len(found.starts) == len(found.ends) == len(read)


def test_empty_text_is_the_two_special_tokens(file: Path) -> None:
    ((window,),) = Encoding.load(file).windows([as_it_is("")])
    assert (window.ids, window.spans, window.read) == ((0, 2), ((0, 0), (0, 0)), (0, 0))


def test_messages_keep_their_order_and_do_not_mix(file: Path) -> None:
    encoding = Encoding.load(file, max_tokens=8, overlap=2)
    messages = [as_it_is(text) for text in ("着火" * 9, "", "打架")]
    assert encoding.windows(messages) == [encoding.windows([message])[0] for message in messages]
    assert encoding.windows([]) == []


def test_truncation_and_padding_in_the_file_do_not_count(file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=30)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    messages = [as_it_is("消防通道着火"), as_it_is("火")]
    assert Encoding.load(tmp_path / "tokenizer.json").windows(messages) == Encoding.load(file).windows(messages)


@pytest.mark.parametrize(("max_tokens", "overlap"), [(7, 0), (64, 32), (64, -1), (0, 0)])
def test_bad_parameters_are_told_with_their_values(file: Path, max_tokens: int, overlap: int) -> None:
    with pytest.raises(ReleaseCorrupt, match=f"max_tokens={max_tokens}，overlap={overlap}"):
        Encoding.load(file, max_tokens, overlap)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=r"分词器 tokenizer.json 无法读取"):
        Encoding.load(tmp_path / "tokenizer.json")
    with pytest.raises(ReleaseCorrupt):
        Encoding.load(tmp_path / "absent.json")


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ReleaseCorrupt):
        Encoding.load(tmp_path / "tokenizer.json")
