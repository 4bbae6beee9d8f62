"""``triage data import``: a file of labelled messages becomes a corpus file.

The rows go to ``<out>``; what cannot be used to ``<out>.errors.jsonl``, each record whole (as it was read, personal
data included) with file, row, column, a stable code and the reason in Chinese and English. Both appear when everything
is read; where no record can be used only the second does.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Table
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from training.exchange.mapping import Mapping, Vocabulary
from training.exchange.masking import Masker
from training.exchange.records import Record, Refused
from training.exchange.rows import RowMaker
from training.exchange.sources import open_source
from training.exchange.tables import Source
from training.exchange.tools import unwrapped
from triage.bulk.writers import json_line
from triage.durable import sync_folder
from triage.errors import FileUnreadable, InputError
from triage.taxonomy import Taxonomy

# Records between two words on the progress.
EVERY: Final = 256


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: records read and kept aside, and the share of the file in [0, 1]."""

    read: int
    refused: int
    share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import did.

    Attributes:
        read: records in the file, blank ones left out.
        written: rows of the corpus file.
        refused: records kept aside.
        by_label: rows by label id.
        by_reason: records kept aside, by code.
        unknown: labels and other values that nobody knows, with their counts; those that may be a report are left out.
        fields: rows that have a field, by field.
        columns: the column that each field was read from, in the first record.
        unused: columns of the first record that no field takes and that are not kept.
        hidden: pieces of personal data that were hidden; None where that was not wanted.
        repeated: rows whose text stands in an earlier row too.
        output: the corpus file, None where no record could be used.
        errors: the records kept aside, None where there are none.
        seconds: duration.
    """

    read: int
    written: int
    refused: int
    by_label: Table[str, int]
    by_reason: Table[str, int]
    unknown: Table[str, int]
    fields: Table[str, int]
    columns: Table[str, str]
    unused: tuple[str, ...]
    hidden: int | None
    repeated: int
    output: Path | None
    errors: Path | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values."""
        places = {
            name: str(path) if path else None for name, path in (("output", self.output), ("errors", self.errors))
        }
        return {**asdict(self), **places, "unused": list(self.unused), "seconds": round(self.seconds, 3)}


@dataclass(slots=True)
class _Counts:
    """What is counted on the way."""

    written: int = 0
    refused: int = 0
    repeated: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    first: Record | None = None

    def row(self, row: Table[str, Any]) -> None:
        self.written += 1
        self.labels[row["label"]] += 1
        self.fields.update(row.keys())
        self.repeated += row["id"] in self.seen
        self.seen.add(row["id"])

    def aside(self, item: Refused) -> None:
        self.refused += 1
        self.reasons[item.code] += 1
        if item.value and item.code.startswith("unknown_"):
            self.unknown[item.value] += 1


def import_file(
    source: Path,
    target: Path,
    taxonomy: Taxonomy,
    *,
    mapping: Mapping | None = None,
    masker: Masker | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Read a file or folder of any kind that ``sources`` knows, and write a corpus file.

    Args:
        source: a file, or a folder of ``datasets``.
        target: ``.jsonl``; appears whole.
        taxonomy: the labels that there are.
        mapping: which column holds what and which value means what; guessed where it says nothing.
        masker: hides personal data; None leaves it.
        overwrite: replace an earlier target.
        progress: called now and then.

    Raises:
        FileUnreadable: the file as a whole cannot be used.
        CorpusError: a table of the mapping leads to an unknown label.
        InputError: the target cannot be written.
    """
    mapping, began = mapping or Mapping(), time.monotonic()
    errors, part, aside = (beside(target, ending) for ending in (".errors.jsonl", ".part", ".errors.part"))
    check_target(source, (target, errors), (part, aside), overwrite)
    make = RowMaker(source.name, mapping, Vocabulary(mapping, taxonomy), masker or (lambda text: text))
    try:
        text_column = mapping.columns.get("text", "")
        with open_source(source, text_column) as opened, part.open("wb") as rows, aside.open("wb") as kept:
            counts = _read_all(opened, make, rows, kept, progress or (lambda _: None))
        _refuse_nothing(source, counts)
        publish(part, target, counts.written)
        publish(aside, errors, counts.refused)
    finally:
        part.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
    return _summary(
        counts,
        make,
        hidden=masker.hidden if masker else None,
        output=target if counts.written else None,
        errors=errors if counts.refused else None,
        seconds=time.monotonic() - began,
    )


def _summary(counts: _Counts, make: RowMaker, **rest: Any) -> Summary:
    names = tuple(counts.first.cells) if counts.first else ()
    columns = make.mapping.find(names)
    return Summary(
        read=counts.written + counts.refused,
        written=counts.written,
        refused=counts.refused,
        by_label=dict(counts.labels.most_common()),
        by_reason=dict(counts.reasons.most_common()),
        unknown=dict(counts.unknown.most_common()),
        fields=dict(counts.fields),
        columns=columns,
        unused=tuple(name for name in names if name not in columns.values() and not counts.fields[name]),
        repeated=counts.repeated,
        **rest,
    )


def _read_all(
    opened: Source, make: RowMaker, rows: BinaryIO, aside: BinaryIO, progress: Callable[[Progress], None]
) -> _Counts:
    counts = _Counts()
    for number, item in enumerate(unwrapped(opened.items), 1):
        if counts.first is None and isinstance(item, Record):
            counts.first = item
        made = make(item) if isinstance(item, Record) else item
        if isinstance(made, Refused):
            counts.aside(made)
            aside.write(json_line(made.to_json(make.file)))
        else:
            counts.row(made)
            rows.write(json_line(made))
        if number % EVERY == 0:
            progress(Progress(number, counts.refused, opened.share()))
    progress(Progress(counts.written + counts.refused, counts.refused, 1.0))
    return counts


def _refuse_nothing(source: Path, counts: _Counts) -> None:
    if not counts.written and not counts.refused:
        raise FileUnreadable(
            f"{source.name} 没有数据行（为空，或只有表头）",
            f"{source.name} holds no rows (it is empty, or a header only)",
        )


def beside(target: Path, ending: str) -> Path:
    """A file beside the target."""
    return target.with_name(target.name + ending)


def check_target(source: Path, published: Sequence[Path], scratch: Sequence[Path], overwrite: bool) -> None:
    """See to it that nothing is overwritten unasked, and the source never.

    Args:
        source: what is read.
        published: what is there in the end, all in one folder.
        scratch: what is written on the way; a leftover of an earlier run may be there.
        overwrite: ``published`` may be there.

    Raises:
        InputError: a file exists, the folder does not, or one to be written is the source or a part of it.
    """
    folder = published[0].parent
    if not folder.is_dir():
        raise InputError(f"文件夹 {folder} 不存在，请先建立", f"there is no folder {folder}; make it first")
    for path in (*published, *scratch):
        _refuse_source(source, path)
    for path in published:
        if path.exists() and not overwrite:
            raise InputError(
                f"{path} 已存在，请改名或加 --overwrite", f"{path} already exists; rename it or pass --overwrite"
            )


def _refuse_source(source: Path, path: Path) -> None:
    with suppress(FileNotFoundError):  # what is not there yet, nobody reads
        if path.samefile(source):
            raise InputError(
                f"要写的 {path} 就是输入文件，请改输出名",
                f"{path}, which is to be written, is the input itself; name another output",
            )
        if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
            raise InputError(
                f"要写的 {path} 在输入文件夹中，请改输出名",
                f"{path}, which is to be written, lies in the input folder; name another output",
            )


def publish(part: Path, target: Path, rows: int) -> None:
    """Give a finished file its name, so that it outlives a power cut; one without rows takes an earlier one away."""
    if rows:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    else:
        target.unlink(missing_ok=True)
    sync_folder(target.parent)
