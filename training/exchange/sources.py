"""Opens any file or folder that labelled messages come in."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from training.exchange import columnar, jsons, tables
from training.exchange.records import Item, refused
from training.exchange.tables import Source
from triage.bulk.sheets import MAX_UNPACKED_BYTES
from triage.errors import FileUnreadable

PACKED: Final = ".gz"
PACKABLE: Final = (".csv", ".tsv", ".jsonl", ".json")
# Notes that datasets keeps beside data.
_NOTES = frozenset({"dataset_infos.json", "dataset_info.json", *columnar.SAVED})
_BLOCK = 2**16
_GZIP = 31  # zlib's window bits for a gzip header and check

_READERS: Mapping[str, Callable[[Path], AbstractContextManager[Source]]] = {
    ".xlsx": tables.open_workbook,
    ".jsonl": jsons.open_lines,
    ".json": jsons.open_json,
    ".parquet": columnar.open_parquet,
}
SUFFIXES: Final = (".csv", ".tsv", *_READERS)


def open_source(path: Path, text_column: str = "") -> AbstractContextManager[Source]:
    """Open by extension: a table, JSON, Parquet, one of the text formats packed with gzip, or a folder.

    Args:
        path: a file; or a folder that ``datasets`` saved or would load (``load_dataset``): its data files, in order.
        text_column: tells the delimiter of a table, where its name is known.

    Raises:
        FileUnreadable: it is missing, empty, of an unknown kind, or damaged as a whole.
    """
    if path.is_dir():
        saved = any((path / name).is_file() for name in columnar.SAVED)
        return columnar.open_saved(path) if saved else _open_folder(path, text_column)
    if not path.is_file():
        raise FileUnreadable(f"输入文件 {path} 不存在", f"there is no input file {path}")
    if not path.stat().st_size:
        raise FileUnreadable(f"{path.name} 是空文件（0 字节）", f"{path.name} is empty (0 bytes)")
    suffix = path.suffix.lower()
    if suffix == PACKED and path.with_suffix("").suffix.lower() in PACKABLE:
        return _open_packed(path, text_column)
    if suffix in (".csv", ".tsv"):
        return tables.open_text(path, text_column)
    if suffix not in _READERS:
        raise FileUnreadable(
            f"不支持的输入格式 {suffix or '（无扩展名）'}，可用：{'、'.join(SUFFIXES)}，"
            f"{'、'.join(PACKABLE)} 加 .gz，或文件夹",
            f"unknown input format {suffix or '(no extension)'}; use one of {', '.join(SUFFIXES)}, "
            f"{', '.join(PACKABLE)} with .gz, or a folder",
        )
    return _READERS[suffix](path)


@contextmanager
def _open_folder(folder: Path, text_column: str) -> Iterator[Source]:
    files = [path for path in sorted(folder.rglob("*")) if _is_data(path, folder)]
    if not files:
        raise FileUnreadable(
            f"文件夹 {folder.name} 中没有数据文件（{'、'.join(SUFFIXES)}）",
            f"the folder {folder.name} holds no data files ({', '.join(SUFFIXES)})",
        )
    done = [0]
    yield Source(_folder_items(files, folder, text_column, done), lambda: done[0] / len(files))


def _is_data(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    suffix = path.with_suffix("").suffix if path.suffix == PACKED else path.suffix
    hidden = any(part.startswith((".", "_")) for part in inside.parts)
    return path.is_file() and suffix.lower() in SUFFIXES and path.name not in _NOTES and not hidden


def _folder_items(files: Sequence[Path], folder: Path, text_column: str, done: list[int]) -> Iterator[Item]:
    for path in files:
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        with open_source(path, text_column) as source:
            yield from (replace(item, file=name) for item in source.items)
        done[0] += 1


@contextmanager
def _open_packed(path: Path, text_column: str) -> Iterator[Source]:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / path.with_suffix("").name
        whole = _unpack(path, inner)
        if not whole and inner.suffix.lower() != ".json":
            _cut_to_whole_lines(inner)
        with open_source(inner, text_column) as source:
            yield source if whole else Source(_with_end(source.items), source.share)


def _unpack(path: Path, target: Path) -> bool:
    """Unpack as far as it goes, and say whether that was to the end."""
    array = target.suffix.lower() == ".json"
    limit = jsons.MAX_ARRAY_BYTES if array else MAX_UNPACKED_BYTES
    with path.open("rb") as packed, target.open("wb") as file:
        try:
            for block in _unpacked(packed):
                file.write(block)
                if file.tell() > limit:
                    raise jsons.too_large_array(path) if array else _too_large(path)
        except EOFError:
            return False
        except zlib.error:
            if not file.tell():
                raise FileUnreadable(f"{path.name} 不是 gzip 文件", f"{path.name} is no gzip file") from None
            return False
    return True


def _unpacked(packed: BinaryIO) -> Iterator[bytes]:
    """Blocks of at most ``_BLOCK`` bytes, however well they were packed.

    Raises:
        EOFError: a member is cut off.
        zlib.error: what follows is no gzip.
    """
    unpacker = zlib.decompressobj(wbits=_GZIP)
    while block := packed.read(_BLOCK):
        if unpacker.eof:
            block = block.lstrip(b"\0")
        while block:
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=_GZIP)  # files that were joined
            yield unpacker.decompress(block, _BLOCK)
            # Blocks of a tape are filled up with zeros.
            block = unpacker.unused_data.lstrip(b"\0") if unpacker.eof else unpacker.unconsumed_tail
    while not unpacker.eof:
        rest = unpacker.decompress(b"", _BLOCK)
        if not rest:
            raise EOFError
        yield rest


def _too_large(path: Path) -> FileUnreadable:
    return FileUnreadable(
        f"{path.name} 解压后超过 {MAX_UNPACKED_BYTES} 字节，请拆分",
        f"{path.name} unpacks to more than {MAX_UNPACKED_BYTES} bytes; split it",
    )


def _cut_to_whole_lines(path: Path) -> None:
    """A line that is cut off may read as a good one. The last end of a line is looked for from behind."""
    with path.open("rb+") as file:
        end, found = file.seek(0, os.SEEK_END), -1
        while end and found < 0:
            begin = max(0, end - _BLOCK)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            end = begin
        file.truncate(end + found + 1)


def _with_end(items: Iterator[Item]) -> Iterator[Item]:
    number = 0
    for item in items:
        number = item.number
        yield item
    yield refused(number + 1, "gzip_cut_off", None)
