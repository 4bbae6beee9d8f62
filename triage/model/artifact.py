"""A release is a folder, described by data and checked before use.

Layout (everything a release needs travels in it; an installed wheel needs no checkout)::

    <version>/manifest.json      what it is, how it was made, checksums of all other files
              model.onnx         the encoder, int8
              linear.npz         the linear stage, where there is one
              tokenizer.json
              taxonomy.toml      lexicon/*
              golden.jsonl       outputs that ``triage check`` compares on the machine where it will run
              README.md          the model card

``models/CURRENT`` holds the version that serves; ``models/current`` names it wherever a folder is asked for.
``triage.model.history`` writes it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import ReleaseCorrupt, ReleaseNotFound

FORMAT = 1
MANIFEST = "manifest.json"
CURRENT = "CURRENT"
LEXICON = "lexicon"
GOLDEN = "golden.jsonl"
CARD = "README.md"
LINEAR = "linear.npz"
# What decides: the encoder alone, or together with the linear stage.
STAGES = ("encoder", "ensemble")
MAX_BYTES = 512 * 2**20

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ALLOWED = re.compile(
    r"(?:model\.onnx|linear\.npz|tokenizer\.json|taxonomy\.toml|golden\.jsonl|README\.md"
    r"|lexicon/[A-Za-z0-9_-]+\.(?:toml|txt)|plots/[A-Za-z0-9_-]+\.png|hf/[A-Za-z0-9_-]+\.(?:json|safetensors|md))"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """From logits to probabilities: softmax((logits + linear · log-probabilities of the linear stage) / temperature
    + bias) (Guo et al. 2017, arXiv:1706.04599).

    Attributes:
        temperature: above 0.
        bias: one number per label, in taxonomy order; empty for none.
        secondary: sigmoid score in (0, 1) from which a secondary label is given, by report label id.
        emergency: urgency score from which a message is an emergency.
        urgent: score of emergency and urgent together from which it is at least urgent.
        linear: weight of the linear stage, at least 0.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    secondary: Mapping[str, float] = field(default_factory=dict)
    emergency: float = 0.5
    urgent: float = 0.5
    linear: float = 0.0


@dataclass(frozen=True, slots=True)
class Routing:
    """When a decision may be dispatched without an officer.

    Attributes:
        auto: smallest confidence for ``auto``, by label id; 1.1 means never.
        margin: smallest distance of the two best scores.
        floors: score from which a label that did not win sends the message to review, by label id.
        alpha: error rate among auto-routed messages that the thresholds were chosen for.
        delta: probability that the guarantee fails.
    """

    auto: Mapping[str, float]
    margin: float = 0.0
    floors: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.03
    delta: float = 0.1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` holds.

    Attributes:
        version: name of the folder; letters, digits, ``.``, ``_`` and ``-``.
        stage: what decides; one of ``STAGES``.
        max_tokens: longest window.
        overlap: tokens that windows share.
        max_windows: windows read of one message; what lies beyond is reported as truncated.
        calibration: from logits to probabilities.
        routing: from probabilities to ``auto`` or ``review``.
        training: how it was made (base, corpus checksum, recipe, seed): data for people and for comparison.
        metrics: what was measured, by data set.
        files: sha256 by relative path.
    """

    version: str
    stage: str
    calibration: Calibration
    routing: Routing
    max_tokens: int = 256
    overlap: int = 64
    max_windows: int = 16
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; ``from_json`` reads it back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """The inverse of ``to_json``.

        Raises:
            ReleaseCorrupt: a field is missing, unknown, out of range, or the format is another.
        """
        try:
            rest = dict(data)
            if rest.pop("format") != FORMAT:
                raise ValueError("format")
            calibration = dict(rest.pop("calibration"))
            calibration["bias"] = tuple(calibration.get("bias", ()))
            manifest = cls(calibration=Calibration(**calibration), routing=Routing(**rest.pop("routing")), **rest)
            if not VERSION.fullmatch(manifest.version) or manifest.stage not in STAGES:
                raise ValueError("version or stage")
            if not manifest.calibration.temperature > 0 or not manifest.calibration.linear >= 0:
                raise ValueError("temperature or linear")
            if manifest.max_windows < 1:
                raise ValueError("max_windows")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReleaseCorrupt(f"{MANIFEST} 无效：{error}", f"bad {MANIFEST}: {error}") from error
        return manifest


@dataclass(frozen=True, slots=True)
class Release:
    """A checked release folder.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    folder: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        return self.manifest.version

    @classmethod
    def open(cls, path: Path | str) -> Release:
        """Resolve, read and verify a release.

        Args:
            path: a release folder, or ``<models>/current`` for the one that ``<models>/CURRENT`` names.

        Raises:
            ReleaseNotFound: nothing is there.
            ReleaseCorrupt: a file is missing, strange, too large, a link, or its checksum differs.
        """
        folder = resolve(Path(path))
        manifest = read_manifest(folder)
        verify(folder, manifest.files)
        return cls(folder, manifest)

    def path(self, name: str) -> Path:
        """Path of a listed file.

        Raises:
            ReleaseCorrupt: the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise ReleaseCorrupt(f"模型版本 {self.version} 缺少 {name}", f"release {self.version} lacks {name}")
        return self.folder / name


def read_manifest(folder: Path) -> Manifest:
    """What a release folder says of itself, its files unread and unchecked.

    Raises:
        ReleaseCorrupt: it cannot be read, or says nonsense.
    """
    try:
        return Manifest.from_json(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ReleaseCorrupt(f"{folder.name}/{MANIFEST} 无法读取", f"cannot read {folder.name}/{MANIFEST}") from error


def pointer_of(path: Path) -> Path | None:
    """The ``CURRENT`` that decides what ``path`` means; None where it is a release folder itself."""
    if (path / MANIFEST).is_file():
        return None
    return path.parent / CURRENT if path.name == "current" else path / CURRENT


def resolve(path: Path) -> Path:
    """The folder that ``path`` means: itself, or the release that ``CURRENT`` beside it names.

    Raises:
        ReleaseNotFound: there is no such folder or no such version.
    """
    pointer = pointer_of(path)
    if pointer is None:
        return path
    if pointer.is_file():
        version = pointer.read_text(encoding="utf-8").strip()
        folder = pointer.parent / version
        if VERSION.fullmatch(version) and (folder / MANIFEST).is_file():
            return folder
        raise ReleaseNotFound(
            f"{pointer} 指向的版本 {version!r} 不存在", f"{pointer} names {version!r}, which is not a release"
        )
    raise ReleaseNotFound(
        f"{path} 不是模型版本文件夹（没有 {MANIFEST}）", f"{path} is not a release folder (it has no {MANIFEST})"
    )


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Check every file of a release against its manifest.

    Raises:
        ReleaseCorrupt: see ``Release.open``.
    """
    found = set(_files(folder)) - {MANIFEST}
    strange = sorted(name for name in found | set(files) if not _ALLOWED.fullmatch(name))
    unlisted = sorted(found - set(files))
    missing = sorted(set(files) - found)
    for kind_zh, kind_en, names in (
        ("不允许的文件", "file that is not allowed", strange),
        ("未登记的文件", "file that the manifest does not list", unlisted),
        ("缺少文件", "missing file", missing),
    ):
        if names:
            raise ReleaseCorrupt(f"{folder.name}：{kind_zh} {names[0]}", f"{folder.name}: {kind_en} {names[0]}")
    for name, expected in files.items():
        if checksum(folder / name) != expected:
            raise ReleaseCorrupt(f"{folder.name}/{name} 校验和不符", f"checksum of {folder.name}/{name} differs")


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise ReleaseCorrupt(f"{path.name} 是链接", f"{path.name} is a link")
        if path.is_file():
            if path.stat().st_size > MAX_BYTES:
                raise ReleaseCorrupt(f"{path.name} 过大", f"{path.name} is larger than {MAX_BYTES} bytes")
            yield path.relative_to(folder).as_posix()


def checksum(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest.json`` with the checksums of all files that lie in the folder; return what was written."""
    files = {name: checksum(folder / name) for name in sorted(set(_files(folder)) - {MANIFEST})}
    sealed = Manifest.from_json({**manifest.to_json(), "files": files})
    text = json.dumps(sealed.to_json(), ensure_ascii=False, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return sealed
