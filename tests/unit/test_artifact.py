"""Release folders, whole, damaged and malicious: what is not exactly as listed is not opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triage.errors import ReleaseCorrupt, ReleaseNotFound
from triage.model import artifact
from triage.model.artifact import Calibration, Manifest, Release, Routing, seal

FILES = {
    "model.onnx": b"onnx",
    "tokenizer.json": b"{}",
    "taxonomy.toml": b"",
    "golden.jsonl": b"{}\n",
    "README.md": b"# card\n",
    "lexicon/words.txt": b"word\n",
    "lexicon/urgency.toml": b"",
    "plots/reliability.png": b"png",
    "hf/model.safetensors": b"weights",
}
MANIFEST = Manifest(
    version="2026.1",
    stage="encoder",
    calibration=Calibration(1.5, (0.1, -0.1), {"traffic": 0.4}, 0.6, 0.3),
    routing=Routing({"traffic": 0.8}, 0.1, {"fire_hazard": 0.3}),
    training={"seed": 7},
    metrics={"test": {"macro_f1": 0.9}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole release."""
    root = tmp_path / "models" / "2026.1"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    seal(root, MANIFEST)
    return root


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as a forger would."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def test_a_sealed_release_opens_as_it_was(folder: Path) -> None:
    release = Release.open(folder)
    assert release.version == "2026.1"
    assert release.manifest.calibration == MANIFEST.calibration
    assert release.manifest.routing == MANIFEST.routing
    assert sorted(release.manifest.files) == sorted(FILES)
    assert release.manifest.files["model.onnx"] == artifact.checksum(folder / "model.onnx")
    assert release.path("lexicon/words.txt") == folder / "lexicon" / "words.txt"
    assert Manifest.from_json(release.manifest.to_json()) == release.manifest


def test_current_names_the_version_that_serves(folder: Path) -> None:
    models = folder.parent
    with pytest.raises(ReleaseNotFound, match="不是模型版本文件夹"):
        Release.open(models / "current")
    (models / "CURRENT").write_text("2026.1\n")
    assert Release.open(models / "current").folder == folder
    assert Release.open(models).folder == folder


@pytest.mark.parametrize("name", ["2027.1", "", "..", "../2026.1", "/etc", "2026.1/../2026.1", ".", "a" * 65, "a\nb"])
def test_current_cannot_point_elsewhere(folder: Path, name: str) -> None:
    (folder.parent / "CURRENT").write_text(name)
    with pytest.raises(ReleaseNotFound, match="指向的版本"):
        Release.open(folder.parent / "current")


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "current"):
        with pytest.raises(ReleaseNotFound, match="is not a release folder"):
            Release.open(path)


@pytest.mark.parametrize("name", [*FILES])
def test_a_changed_file_is_found(folder: Path, name: str) -> None:
    (folder / name).write_bytes(FILES[name] + b"!")
    with pytest.raises(ReleaseCorrupt, match=f"{name} 校验和不符"):
        Release.open(folder)


@pytest.mark.parametrize("name", [*FILES])
def test_a_missing_file_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ReleaseCorrupt, match=f"缺少文件 {name}"):
        Release.open(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lexicon/more.txt", "未登记的文件"),
        ("hf/config.json", "未登记的文件"),
        ("code.py", "不允许的文件"),
        ("weights.pkl", "不允许的文件"),
        ("model.onnx.data", "不允许的文件"),
        (".hidden", "不允许的文件"),
        ("lexicon/.hidden.txt", "不允许的文件"),
        ("lexicon/deep/words.txt", "不允许的文件"),
        ("other/README.md", "不允许的文件"),
        ("MODEL.ONNX", "不允许的文件"),
        ("README.md ", "不允许的文件"),
    ],
)
def test_an_extra_file_is_found(folder: Path, name: str, message: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(ReleaseCorrupt, match=message):
        Release.open(folder)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "lexicon/../../secret", "lexicon\\..\\secret", "./model.onnx", "", "model.onnx\n"],
)
def test_a_listed_name_cannot_leave_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    edit(folder, lambda data: data["files"].update({name: artifact.checksum(folder.parent / "secret")}))
    with pytest.raises(ReleaseCorrupt, match="不允许的文件"):
        Release.open(folder)


@pytest.mark.parametrize("name", ["model.onnx", "lexicon/more.txt"])
def test_links_are_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes(FILES.get(name, b""))
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ReleaseCorrupt, match="是链接"):
        Release.open(folder)


def test_linked_and_dangling_folders_are_refused(folder: Path) -> None:
    (folder / "hf" / "more.json").symlink_to("nowhere")
    with pytest.raises(ReleaseCorrupt, match="是链接"):
        Release.open(folder)
    (folder / "hf" / "more.json").unlink()
    (folder / "hf").rename(folder.parent / "hf")
    (folder / "hf").symlink_to(folder.parent / "hf", target_is_directory=True)
    with pytest.raises(ReleaseCorrupt, match="是链接"):
        Release.open(folder)


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    os.truncate(folder / "model.onnx", artifact.MAX_BYTES + 1)
    with pytest.raises(ReleaseCorrupt, match="model.onnx 过大"):
        Release.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{} {}"])
def test_a_manifest_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=r"manifest.json 无法读取"):
        Release.open(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("format"),
        lambda data: data.update(format=2),
        lambda data: data.pop("version"),
        lambda data: data.update(version="../x"),
        lambda data: data.update(version=5),
        lambda data: data.update(version=""),
        lambda data: data.update(stage="pickle"),
        lambda data: data["calibration"].update(linear=-0.5),
        lambda data: data["calibration"].update(linear="much"),
        lambda data: data.update(surprise=1),
        lambda data: data.update(max_windows=0),
        lambda data: data.update(max_windows="many"),
        lambda data: data.pop("calibration"),
        lambda data: data.update(calibration=None),
        lambda data: data.update(routing=[]),
        lambda data: data["calibration"].update(temperature=0),
        lambda data: data["calibration"].update(temperature=-1),
        lambda data: data["calibration"].update(temperature=float("nan")),
        lambda data: data["calibration"].update(extra=1),
        lambda data: data["routing"].update(extra=1),
        lambda data: data["routing"].pop("auto"),
    ],
)
def test_a_manifest_that_says_nonsense(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(folder, change)
    with pytest.raises(ReleaseCorrupt, match=r"manifest.json 无效"):
        Release.open(folder)


@pytest.mark.parametrize("content", ["[]", "null", "5", '"x"', '[["format", 1]]'])
def test_a_manifest_that_is_no_object(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ReleaseCorrupt, match=r"manifest.json"):
        Release.open(folder)


def test_an_unlisted_name_is_not_given(folder: Path) -> None:
    release = Release.open(folder)
    with pytest.raises(ReleaseCorrupt, match=r"缺少 linear.json"):
        release.path("linear.json")


def test_sealing_twice_gives_the_same_manifest(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    sealed = seal(folder, Release.open(folder).manifest)
    assert (folder / "manifest.json").read_bytes() == before
    assert sealed == Release.open(folder).manifest
