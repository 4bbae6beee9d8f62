"""The packed weights are read as BASE: 4-bit blocks, shapes, pruning; the real build is a slow test."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from training import base_model
from triage.errors import TrainingError


def packed(weights: np.ndarray) -> bytes:
    """4-bit blocks of 32 weights, as the file has them."""
    out = b""
    for block in weights.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7)
        nibbles = np.clip(np.round(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        out += scale.tobytes() + (nibbles[:16] | nibbles[16:] << 4).tobytes()
    return out


def write_file(path: Path, matrix: np.ndarray, vector: np.ndarray) -> None:
    head = b"E5S1" + struct.pack("<I7ifi", 1, 32, 0, 1, 64, 3, 4, 1, 1e-12, 32)
    head += struct.pack("<i4iQ", 2, 0, 2, 1, 3, 5) + struct.pack("<3I2f", 0, 2, 5, 0.0, 0.0) + b"hello"
    head += struct.pack("<iI", 1, 7) + b"\0" * 7
    names = [("l0.q.w", 1, matrix.size), ("l0.q.b", 0, vector.size)]
    table = sum(2 + len(name) + 21 for name, _, _ in names)
    body = [packed(matrix), vector.astype("<f4").tobytes()]
    at = len(head) + 4 + table
    entries = b""
    for (name, kind, size), data in zip(names, body, strict=True):
        entries += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, size, at, len(data))
        at += len(data)
    path.write_bytes(head + struct.pack("<i", len(names)) + entries + b"".join(body))


def test_reads_four_bit_blocks_and_vectors(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    matrix, vector = random.normal(size=(6, 32)).astype(np.float32), np.arange(6, dtype=np.float32)
    write_file(tmp_path / "w.bin", matrix, vector)
    config, tensors = base_model.read_weights(tmp_path / "w.bin")
    assert config["hidden_size"] == 32
    assert config["vocab_size"] == 3
    assert tensors["l0.q.w"].shape == (6, 32)
    # A step of the grid is a seventh of the block's largest weight; rounding errs by half a step at the most.
    step = np.abs(matrix).max(axis=1, keepdims=True) / 7
    assert (np.abs(tensors["l0.q.w"] - matrix) <= 0.51 * step + 1e-3).all()
    np.testing.assert_array_equal(tensors["l0.q.b"], vector)


def test_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(TrainingError, match="E5S1"):
        base_model.read_weights(tmp_path / "w.bin")


def test_prunes_pieces_and_renumbers() -> None:
    vocabulary = [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["▁消防", -1], ["hello", -2], ["APP", -3]]
    vocabulary += [["▁the", -4], ["2026", -5], ["ABCDEF", -6], ["，", -7], ["<mask>", 0]]
    tokenizer = {
        "added_tokens": [{"id": i} for i in (0, 1, 2, 3, 11)],
        "post_processor": {"special_tokens": {"</s>": {"ids": [2]}}},
        "model": {"vocab": vocabulary, "unk_id": 3},
    }
    kept = base_model.kept_pieces(tokenizer)
    assert [vocabulary[i][0] for i in kept] == [
        "<s>", "<pad>", "</s>", "<unk>", "▁消防", "APP", "2026", "，", "<mask>",
    ]  # fmt: skip
    pruned = base_model.prune_tokenizer(tokenizer, kept)
    assert pruned["added_tokens"][-1]["id"] == 8
    assert pruned["post_processor"]["special_tokens"]["</s>"]["ids"] == [2]
    assert tokenizer["added_tokens"][-1]["id"] == 11, "the original stays as it was"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_base_is_the_real_model(tmp_path: Path) -> None:
    proof = base_model.build(tmp_path / "base")
    assert proof.to_package is None or proof.to_package >= 0.999
    assert proof.to_unpruned >= 0.9999
    assert 30_000 < proof.pieces < 33_000
