"""Records of JSONL, and of JSON files that hold one array."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from training.exchange.records import Item, Record, from_bulk, refused
from training.exchange.tables import Source
from triage.bulk.decoding import detect_encoding, text_lines
from triage.bulk.rows import undecodable
from triage.errors import FileUnreadable

# Bytes of a .json, unpacked, that are read at most: unlike lines, an array is held in memory.
MAX_ARRAY_BYTES: Final = 256 * 2**20

_BLANK = re.compile(r"[\s,]*")
_UNDECODED = re.compile("[\udc80-\udcff]")
_NEXT = re.compile(r",\s*(?=\{)")


class _Twice(ValueError):
    """A field that stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


@contextmanager
def open_lines(path: Path) -> Iterator[Source]:
    """JSONL in UTF-8, UTF-16 or GBK."""
    encoding = detect_encoding(path)
    size = max(1, path.stat().st_size)
    with path.open("rb") as file, closing(text_lines(file, encoding, "\n")) as lines:
        yield Source(_line_records(lines, encoding), lambda: file.tell() / size)


def _line_records(lines: Iterator[str], encoding: str) -> Iterator[Item]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            problem = undecodable(number, line, encoding)
            yield from_bulk(problem) if problem else _line_record(number, line.rstrip("\r\n"))


def _line_record(number: int, line: str) -> Item:
    try:
        data = _DECODER.decode(line.strip())
    except _Twice as error:
        return refused(number, "duplicate_key", line, value=str(error))
    except (ValueError, RecursionError):
        return refused(number, "bad_json", line)
    return _record(number, data, line)


def _record(number: int, data: object, raw: object) -> Item:
    return Record(number, data, raw) if isinstance(data, dict) else refused(number, "not_an_object", raw)


@contextmanager
def open_json(path: Path) -> Iterator[Source]:
    """A file that holds one array of objects; one that begins with an object is read as JSONL.

    The text is held in memory.

    Raises:
        FileUnreadable: it is no array, or larger than ``MAX_ARRAY_BYTES``.
    """
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise too_large_array(path)
    text = _decoded(path).lstrip("\ufeff \t\r\n")
    if text.startswith("{"):
        with open_lines(path) as source:
            yield source
        return
    if text and not text.startswith("["):
        raise FileUnreadable(
            f"{path.name} 不是 JSON 数组，应形如 [{{…}}, {{…}}]",
            f"{path.name} is no JSON array; it must look like [{{…}}, {{…}}]",
        )
    at = [0]
    yield Source(_array_records(text, at), lambda: at[0] / max(1, len(text)))


def too_large_array(path: Path) -> FileUnreadable:
    """A .json that is too large, packed or not."""
    return FileUnreadable(
        f"{path.name} 超过 {MAX_ARRAY_BYTES} 字节（.json 的上限，压缩文件按解压后计），请另存为 .jsonl 或拆分",
        f"{path.name} has more than {MAX_ARRAY_BYTES} bytes, the limit of a .json (unpacked); save it as .jsonl or "
        "split it",
    )


def _decoded(path: Path) -> str:
    """The whole text. An array is often one line, so characters decide between UTF-8 and GBK, not lines."""
    encoding = detect_encoding(path)
    data = path.read_bytes()
    if encoding == "utf-16":  # knows no surrogateescape for a broken pair
        return data.decode(encoding, "replace")
    text = data.decode("utf-8", "surrogateescape")
    damaged, written = len(_UNDECODED.findall(text)), sum(not character.isascii() for character in text)
    return text if 2 * damaged <= written else data.decode("gb18030", "surrogateescape")


def _array_records(text: str, at: list[int]) -> Iterator[Item]:
    """Elements one by one: where one is damaged, those before and behind it are still read."""
    position, number, shape = 1, 0, frozenset[str]()
    while True:
        position = at[0] = _BLANK.match(text, position).end()  # type: ignore[union-attr]
        if text.startswith("]", position):
            return
        number += 1
        try:
            data, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            end = _behind(text, position, shape)
            raw = text[position:end]
            if isinstance(error, _Twice):
                yield refused(number, "duplicate_key", raw, value=str(error))
            else:
                yield refused(number, "cut_off", raw, at=position + 1)
            if end == len(text):
                return
        else:
            shape = shape or frozenset(data if isinstance(data, dict) else ())
            yield _record(number, data, text[position:end])
        position = end


def _behind(text: str, position: int, shape: frozenset[str]) -> int:
    """Where the next element of the same shape begins; the end of the text where there is none."""
    for match in _NEXT.finditer(text, position):
        try:
            data, _ = _DECODER.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and shape <= data.keys():
            return match.start()
    return len(text)
