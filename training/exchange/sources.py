"""Opens any file or folder that labelled messages come in."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

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
    with path.open("rb") as packed, target.open("wb") as file:
        unpacker = zlib.decompressobj(wbits=31)  # 31: a gzip header and check
        try:
            while block := packed.read(_BLOCK):
                if unpacker.eof:
                    block = block.lstrip(b"\0")
                while block:
                    if unpacker.eof:
                        unpacker = zlib.decompressobj(wbits=31)  # files that were joined
                    file.write(unpacker.decompress(block))
                    block = unpacker.unused_data.lstrip(b"\0")  # blocks of a tape are filled up with zeros
                if file.tell() > MAX_UNPACKED_BYTES:
                    raise _too_large(path)
        except zlib.error:
            if not file.tell():
                raise FileUnreadable(f"{path.name} 不是 gzip 文件", f"{path.name} is no gzip file") from None
            return False
        return unpacker.eof


def _too_large(path: Path) -> FileUnreadable:
    return FileUnreadable(
        f"{path.name} 解压后超过 {MAX_UNPACKED_BYTES} 字节，请拆分",
        f"{path.name} unpacks to more than {MAX_UNPACKED_BYTES} bytes; split it",
    )


def _cut_to_whole_lines(path: Path) -> None:
    """A line that is cut off may read as a good one."""
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"\n") + 1])


def _with_end(items: Iterator[Item]) -> Iterator[Item]:
    number = 0
    for item in items:
        number = item.number
        yield item
    yield refused(number + 1, "gzip_cut_off", None)
