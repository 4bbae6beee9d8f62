"""Which release serves: promote a candidate, roll back, list what there is.

Nothing here needs what only training needs: the machine that serves promotes and rolls back by itself. That is why it
lives in ``triage`` and not in ``training``; the gate, which measures, is ``training.gate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triage import golden
from triage.errors import ReleaseCorrupt, ReleaseNotFound, ReleaseRefused
from triage.model import history
from triage.model.artifact import MANIFEST, VERSION, Manifest, read_manifest
from triage.model.history import Event, GateRecord

# Digits of a sha256 that tell one file from another in the history; the gate's record has them all.
SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Listed:
    """A release folder, unchecked.

    Attributes:
        version: name of the folder.
        manifest: what it says of itself; None where it cannot be read.
        size: bytes of its files.
        gate: its last gate; None where it went through none.
        serves: whether ``CURRENT`` names it.
    """

    version: str
    manifest: Manifest | None
    size: int
    gate: GateRecord | None
    serves: bool


def folder_of(models: Path, version: str) -> Path:
    """The folder of a version.

    Raises:
        ReleaseNotFound: there is none, or that is no version name.
    """
    if not VERSION.fullmatch(version) or not (models / version / MANIFEST).is_file():
        raise ReleaseNotFound(
            f"{models} 中没有版本 {version!r}，请给出 `triage release list` 列出的版本名（文件夹用 --models 指定）",
            f"{models} holds no release {version!r}; give a name that `triage release list` shows (--models names the "
            "folder)",
        )
    return models / version


def releases(models: Path) -> list[Listed]:
    """All releases of a folder, by name.

    Raises:
        ReleaseNotFound: there is no such folder.
    """
    if not models.is_dir():
        raise ReleaseNotFound(f"没有文件夹 {models}，请用 --models 指定", f"no folder {models}; name it by --models")
    return list(_listed(models))


def _listed(models: Path) -> Iterator[Listed]:
    serving = history.current(models)
    for path in sorted(models.iterdir()):
        if VERSION.fullmatch(path.name) and (path / MANIFEST).is_file():
            gate = last_gate(models, path.name)
            yield Listed(path.name, _readable(path), size_of(path), gate, path.name == serving)


def _readable(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except ReleaseCorrupt:
        return None


def size_of(folder: Path) -> int:
    """Bytes of all files of a release."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def last_gate(models: Path, version: str) -> GateRecord | None:
    """The last gate that this very release went through; one of a namesake built otherwise does not count.

    Raises:
        ReleaseCorrupt: the file of its gates cannot be read.
    """
    manifest = history.manifest_checksum(models, version)
    return next((gate for gate in reversed(history.gates(models, version)) if gate.manifest == manifest), None)


def promote(models: Path, version: str, by: str, reason: str = "", without_gate: str = "") -> Event:
    """Let a candidate serve, once it is proven.

    Args:
        models: folder of the releases.
        version: the candidate.
        by, reason: for the history.
        without_gate: why its gate does not matter; empty to ask for one that it passed.

    Raises:
        ReleaseNotFound: there is no such release.
        ReleaseRefused: it serves already, or it did not pass a gate against the release that serves.
        ReleaseCorrupt, ReleaseDrift: it is damaged, or answers otherwise than where it was made.
    """
    folder_of(models, version)
    serving = history.current(models)
    skipped = without_gate.strip()
    gate = f"skipped: {skipped}" if skipped else _passed(_require_gate(models, version, serving))
    return _serve(models, "promote", serving, version, by, reason, gate)


def rollback(models: Path, by: str, reason: str = "", to: str = "") -> Event:
    """Let the release serve that served before.

    Args:
        models: folder of the releases.
        by, reason: for the history.
        to: another earlier release; the history need not be readable then.

    Raises:
        ReleaseNotFound: that release is gone.
        ReleaseRefused: there is none, or it serves already.
        ReleaseCorrupt, ReleaseDrift: it is damaged, or answers otherwise than where it was made.
    """
    serving = history.current(models)
    target = to or history.before(history.events(models), serving)
    if not target:
        raise ReleaseRefused(
            "没有更早的版本可退回，请用 --to 指定版本", "no release served before this one; name one by --to"
        )
    return _serve(models, "rollback", serving, target, by, reason, "")


def _serve(models: Path, action: history.Action, serving: str, version: str, by: str, reason: str, gate: str) -> Event:
    folder = folder_of(models, version)
    if version == serving:
        raise ReleaseRefused(f"{version} 已经是当前版本", f"{version} serves already")
    manifest = history.manifest_checksum(models, version)
    golden.load_proven(folder, workers=1)
    event = Event(action, serving, version, manifest, by, reason, gate)
    history.switch(models, event)
    return event


def _passed(gate: GateRecord) -> str:
    """What a gate was passed by, for the history: a bar that was set low shows."""
    files = ", ".join(f"{name} {digest[:SHORT]}" for name, digest in gate.files.items())
    return f"passed: policy {gate.policy[:SHORT]}; {files}"


def _require_gate(models: Path, version: str, serving: str) -> GateRecord:
    gate = last_gate(models, version)
    step_zh = f"请运行 `triage release gate {version}`，或用 --without-gate 写明理由"
    step_en = f"run `triage release gate {version}`, or give a reason by --without-gate"
    if gate is None:
        raise ReleaseRefused(f"{version} 没有门槛检查记录；{step_zh}", f"{version} went through no gate; {step_en}")
    if not gate.passed:
        failed = ", ".join(row.rule for row in gate.rules if not row.passed)
        raise ReleaseRefused(
            f"{version} 未通过门槛检查（{failed}）；请改进后重试，或用 --without-gate 写明理由",
            f"{version} did not pass its gate ({failed}); improve it, or give a reason by --without-gate",
        )
    if gate.against_manifest != history.manifest_checksum(models, serving):
        raise ReleaseRefused(
            f"{version} 的门槛检查是与 {gate.against or '无'} 比较的，而当前版本是 {serving or '无'}；{step_zh}",
            f"the gate of {version} was against {gate.against or 'none'}, but {serving or 'none'} serves; {step_en}",
        )
    return gate
