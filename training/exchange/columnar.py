"""Records of Parquet files and of folders that ``datasets`` saved.

Sources: https://arrow.apache.org/docs/python/parquet.html and
https://huggingface.co/docs/datasets/process#save (``save_to_disk``, ``load_from_disk``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.exchange.records import Item, Record
from training.exchange.tables import Source
from triage.errors import FileUnreadable

BATCH = 1024
SPLIT = "split"
# What save_to_disk leaves in its folder: several splits, or one.
SAVED = ("dataset_dict.json", "state.json")


@contextmanager
def open_parquet(path: Path) -> Iterator[Source]:
    """A Parquet file, one batch in memory.

    Raises:
        FileUnreadable: it is damaged or cut off; a Parquet file is read from its end.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    with file:
        total, at = max(1, file.metadata.num_rows), [0]
        yield Source(_parquet_records(file, path, at), lambda: at[0] / total)


def _parquet_records(file: pq.ParquetFile, path: Path, at: list[int]) -> Iterator[Item]:
    schema = file.schema_arrow
    names = _class_names(schema)
    doubled = frozenset(name for name, count in Counter(schema.names).items() if count > 1)
    try:
        for batch in file.iter_batches(BATCH):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                at[0] += 1
                yield _record(at[0], zip(schema.names, row, strict=True), names, doubled)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _record(
    number: int, pairs: Iterable[tuple[str, Any]], names: Mapping[str, list[str]], doubled: frozenset[str]
) -> Record:
    cells: dict[str, object] = {}
    for name, value in pairs:
        cells.setdefault(name, names[name][value] if name in names and value is not None and value >= 0 else value)
    return Record(number, cells, cells, headed=True, doubled=doubled)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the labels that ``datasets`` keeps as numbers (ClassLabel), by column."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import ClassLabel, Features

    features = Features.from_arrow_schema(schema)
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


@contextmanager
def open_saved(folder: Path) -> Iterator[Source]:
    """A folder that ``save_to_disk`` wrote; the name of the split stands in the column ``split``."""
    from datasets import Dataset, DatasetDict, load_from_disk

    try:
        found: Dataset | DatasetDict = load_from_disk(str(folder))
    except Exception as error:  # datasets lets through what JSON, Arrow and the file system raise
        raise _damaged(folder, error) from None
    splits = dict(found) if isinstance(found, DatasetDict) else {"": found}
    total, at = max(1, sum(len(split) for split in splits.values())), [0]
    yield Source(_saved_records(splits, folder, at), lambda: at[0] / total)


def _saved_records(splits: Mapping[str, Any], folder: Path, at: list[int]) -> Iterator[Item]:
    for split, dataset in splits.items():
        names = _class_names(dataset.features.arrow_schema)
        extra = {SPLIT: split} if split else {}
        try:
            for row in dataset.with_format(None):
                at[0] += 1
                yield _record(at[0], {**extra, **row}.items(), names, frozenset())
        except (pa.ArrowException, OSError) as error:
            raise _damaged(folder, error) from None


def _damaged(path: Path, error: Exception) -> FileUnreadable:
    kind = type(error).__name__
    return FileUnreadable(
        f"{path.name} 已损坏或不完整（{kind}），请重新导出或下载",
        f"{path.name} is damaged or incomplete ({kind}); export or fetch it again",
    )
