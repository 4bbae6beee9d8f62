"""The labelled corpus: load, validate, find near-duplicates, split.

A row is one JSON object a line: ``id``, ``text``, ``label``, ``secondary``, ``urgency``, ``register``, ``topic`` (a
line or ruling of the codebook, from ``data/topics.toml``), ``scenario`` (messages about one concrete situation share
it), ``author`` (the sitting's writer, from ``data/authors.toml``) and ``difficulty``. Files from elsewhere
(``training.exchange``) may hold only some of them, and further ones that are passed over here.
"""

from __future__ import annotations

import collections
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from triage.errors import CorpusError
from triage.taxonomy import Taxonomy, Urgency
from triage.text import privacy
from triage.text.entities import EntityFinder
from triage.text.normalize import Normalizer

Row = TypeVar("Row")

REGISTERS = ("group_chat", "hotline", "letter", "forwarded", "everyday")
SPLITS = ("train", "validation", "calibration", "test")
DIFFICULTIES = ("plain", "hard")
SHARES = {"train": 0.70, "validation": 0.08, "calibration": 0.11, "test": 0.11}
# Cosine of character 2–4-grams: two wordings of one message lie above, two messages of one topic below.
NEAR_DUPLICATE = 0.8
# Keeps the memory for comparing pairs within some hundred MB.
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Message:
    """One labelled message; see the module for the fields. One that nobody told is empty."""

    id: str
    text: str
    label: str
    secondary: tuple[str, ...] = ()
    urgency: str = ""
    register: str = ""
    topic: str = ""
    scenario: str = ""
    author: str = ""
    difficulty: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "secondary": list(self.secondary)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one row: a stable code, where, and a message without the text."""

    code: str
    row: str
    message: str


def message_id(text: str) -> str:
    """Stable id of a text: the first 12 hex digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load(path: Path) -> list[Message]:
    """Read one ``.jsonl`` file.

    Raises:
        CorpusError: a row is not JSON or lacks text or label; the message names the file and the row.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    return rows_of(
        _message, path.name, [(number, line) for number, line in enumerate(lines, 1) if line], "a corpus row"
    )


def _message(text: str, label: str, **rest: Any) -> Message:
    """A row as a message; its id is the hash of its text where the file has none."""
    known = {name: rest[name] for name in Message.__slots__ if rest.get(name) is not None}
    return Message(**{"id": message_id(text), **known}, text=text, label=label)


def rows_of(kind: Callable[..., Row], file: str, lines: Iterable[tuple[int, str]], what: str) -> list[Row]:
    """Rows from JSON lines whose fields are those of ``kind``; ``secondary`` becomes a tuple.

    Args:
        kind: makes a row.
        file: name for the error.
        lines: (number, line) pairs.
        what: a row in words, for the error.

    Raises:
        CorpusError: a line is not such a row; the message names the file and the number, never the text.
    """
    found = []
    for number, line in lines:
        try:
            row = json.loads(line)
            several = {"secondary": tuple(row["secondary"])} if row.get("secondary") is not None else {}
            found.append(kind(**{**row, **several}))
        except (ValueError, TypeError, AttributeError) as error:
            raise CorpusError(
                f"{file} 第 {number} 行无效：{type(error).__name__}",
                f"{file} row {number} is not {what} ({type(error).__name__})",
            ) from error
    return found


def load_splits(folder: Path) -> dict[str, list[Message]]:
    """The four splits of ``<folder>/corpus``; see ``load``."""
    return {name: load(folder / "corpus" / f"{name}.jsonl") for name in SPLITS}


def save(path: Path, messages: Iterable[Message]) -> None:
    """Write ``.jsonl``, one message a line, in the order given."""
    lines = [json.dumps(message.to_json(), ensure_ascii=False) for message in messages]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_topics(folder: Path) -> dict[str, str]:
    """Topic ids and their tables, from ``topics.toml``."""
    data = tomllib.loads((folder / "topics.toml").read_text(encoding="utf-8"))
    return {topic: table for table, topics in data.items() for topic in topics}


def load_authors(folder: Path) -> dict[str, str]:
    """Author ids and who they are, from ``authors.toml``."""
    data: dict[str, str] = tomllib.loads((folder / "authors.toml").read_text(encoding="utf-8"))["authors"]
    return data


def validate(splits: Mapping[str, Sequence[Message]], folder: Path) -> list[Finding]:
    """Everything wrong with a corpus: schema, codebook, duplicates, leakage between splits, personal data.

    Args:
        splits: messages by split.
        folder: the data folder, with ``taxonomy.toml``, ``topics.toml``, ``authors.toml`` and ``lexicon/``.
    """
    taxonomy = Taxonomy.load(folder)
    topics, authors = load_topics(folder), load_authors(folder)
    everything = [message for part in splits.values() for message in part]
    findings = [
        Finding(code, message.id, text)
        for message in everything
        for code, text in _schema(message, taxonomy, topics, authors)
    ]
    findings += _same_text(everything)
    findings += _leaks(splits)
    findings += _personal(everything, folder)
    return findings


def _schema(
    message: Message, taxonomy: Taxonomy, topics: Mapping[str, str], authors: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    allowed: dict[str, Iterable[str]] = {
        "label": taxonomy.ids,
        "urgency": tuple(Urgency),
        "register": REGISTERS,
        "topic": topics,
        "author": authors,
        "difficulty": DIFFICULTIES,
    }
    for name, values in allowed.items():
        if getattr(message, name) not in values:
            yield f"unknown_{name}", f"unknown {name} {getattr(message, name)!r}"
    if message.id != message_id(message.text):
        yield "wrong_id", "the id is not the hash of the text"
    if not message.text.strip() or message.text != message.text.strip():
        yield "bad_text", "the text is empty or has blanks around it"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", message.scenario):
        yield "bad_scenario", f"scenario {message.scenario!r} is not a slug"
    bad = set(message.secondary) - (set(taxonomy.dispatch_ids) - {message.label})
    if bad or len(set(message.secondary)) != len(message.secondary):
        yield "bad_secondary", f"secondary {sorted(message.secondary)} with primary {message.label}"
    if message.label in taxonomy.ids and not taxonomy[message.label].dispatch:
        if message.secondary or message.urgency != Urgency.ROUTINE:
            yield "busy_other", f"{message.label} takes no secondary label and is always routine"


def _same_text(messages: Sequence[Message]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for message in messages:
        key = re.sub(r"\W", "", message.text)
        if key in seen:
            yield Finding("duplicate", message.id, f"same text as {seen[key]}")
        seen[key] = message.id


def _leaks(splits: Mapping[str, Sequence[Message]]) -> Iterator[Finding]:
    everything = [(message, name) for name, part in splits.items() for message in part]
    groups = group([message for message, _ in everything])
    homes: dict[int, str] = {}
    for (message, name), number in zip(everything, groups, strict=True):
        home = homes.setdefault(number, name)
        if home != name:
            yield Finding("leak", message.id, f"a near-duplicate or the same scenario stands in {home} and in {name}")


def _personal(messages: Sequence[Message], folder: Path) -> Iterator[Finding]:
    normalizer, finder = Normalizer.load(folder / "lexicon"), EntityFinder.load(folder / "lexicon")
    for message in messages:
        for entity in privacy.personal(finder.find(normalizer(message.text))):
            if not privacy.is_fictitious(entity):
                yield Finding("personal_data", message.id, f"{entity.kind} at {entity.start}–{entity.end}")


def near_duplicates(texts: Sequence[str], threshold: float = NEAR_DUPLICATE) -> list[tuple[int, int, float]]:
    """Pairs of texts alike in wording: (first index, second index, cosine), each pair once, in order.

    Method: cosine of TF-IDF over character 2–4-grams. The search is exact and compares only texts that share one of
    their rarest n-grams (prefix filtering: Bayardo, Ma & Srikant 2007, *Scaling Up All Pairs Similarity Search*): what
    is left of a vector behind its prefix is shorter than the threshold, so no product with it can reach the threshold.
    """
    if len(texts) < 2:
        return []
    # Hashed to so many columns that hardly any two n-grams meet: a vocabulary of millions takes longer to build than to
    # use.
    hashing = HashingVectorizer(analyzer="char", ngram_range=(2, 4), n_features=2**30, alternate_sign=False, norm=None)
    counts = hashing.transform(texts)
    _, columns, frequency = np.unique(counts.indices, return_inverse=True, return_counts=True)
    rarest_first = np.argsort(np.argsort(frequency, kind="stable"), kind="stable")
    shape = (len(texts), len(frequency))
    counts = csr_array((counts.data, rarest_first[columns], counts.indptr), shape=shape)
    vectors = csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
    vectors.sort_indices()
    squares = np.concatenate([[0.0], np.cumsum(np.square(vectors.data))])
    before = squares[:-1] - np.repeat(squares[vectors.indptr[:-1]], np.diff(vectors.indptr))
    prefixes = vectors.copy()
    # A little more than the prefix needs, against rounding.
    prefixes.data[1 - before < threshold**2 - 1e-6] = 0
    prefixes.eliminate_zeros()
    first, second = (prefixes @ prefixes.T).nonzero()
    pairs = first < second
    first, second = first[pairs], second[pairs]
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        rows, columns = first[start : start + _PAIRS_AT_ONCE], second[start : start + _PAIRS_AT_ONCE]
        alike = vectors[rows].multiply(vectors[columns]).sum(axis=1)
        near = alike >= threshold
        found += zip(rows[near].tolist(), columns[near].tolist(), alike[near].tolist(), strict=True)
    return sorted(found)


def group(messages: Sequence[Message], by_author: bool = False) -> list[int]:
    """A number for each message; near-duplicates and messages of one scenario share it, transitively.

    Where nobody told the scenario or the author, it joins nothing.

    With ``by_author`` messages of one author share it too: a split by such groups asks for voices never heard.
    """
    first_of: dict[tuple[str, str], int] = {}
    edges = [(first_of.setdefault(("scenario", m.scenario), i), i) for i, m in enumerate(messages) if m.scenario]
    if by_author:
        edges += [(first_of.setdefault(("author", m.author), i), i) for i, m in enumerate(messages) if m.author]
    edges += [(a, b) for a, b, _ in near_duplicates([m.text for m in messages])]
    rows, columns = np.array(edges or [(0, 0)]).T
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(messages), len(messages)))
    return [int(number) for number in connected_components(graph, directed=False)[1]]


def split(messages: Sequence[Message], shares: Mapping[str, float] | None = None) -> dict[str, list[Message]]:
    """Split by author so that no near-duplicate, scenario or voice straddles; the same for the same messages.

    A random split would ask for wordings of voices already heard, and its figures would flatter.

    Args:
        messages: all messages.
        shares: part of each split, adding up to 1.

    Method: groups go from the largest to the smallest (ties by hash) to the split whose shortage in the group's own
    label × register strata is the largest, so that every stratum comes out near its share.
    """
    shares = dict(shares or SHARES)
    groups: dict[int, list[Message]] = collections.defaultdict(list)
    for message, number in zip(messages, group(messages, by_author=True), strict=True):
        groups[number].append(message)
    totals = collections.Counter((m.label, m.register) for m in messages)
    filled: dict[str, collections.Counter[tuple[str, str]]] = {name: collections.Counter() for name in shares}
    found: dict[str, list[Message]] = {name: [] for name in shares}
    for members in sorted(groups.values(), key=lambda part: (-len(part), min(m.id for m in part))):
        strata = collections.Counter((m.label, m.register) for m in members)

        def shortage(name: str, strata: collections.Counter[tuple[str, str]] = strata) -> float:
            return sum(n * (shares[name] - filled[name][s] / totals[s]) for s, n in strata.items())

        best = max(shares, key=shortage)
        found[best].extend(members)
        filled[best].update(strata)
    return {name: sorted(part, key=lambda m: m.id) for name, part in found.items()}
