"""Batches planned and run: padding changes nothing, what is no model of ours is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from triage.errors import ReleaseCorrupt
from triage.model.encoder import Encoder, plan_batches

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True, database=None)
SHORT, LONG, LONGER = (0, 5, 9, 2), (0, *range(10, 40), 2), (0, *range(40, 160), 2)
LABELS = 5


@pytest.fixture(scope="module")
def encoder(tiny_graphs: Path) -> Encoder:
    return Encoder(tiny_graphs / "fp32.onnx")


@PROPERTY
@given(lengths=st.lists(st.integers(2, 600), max_size=60), budget=st.integers(1, 2000))
def test_batches_hold_each_item_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or lengths[batch[0]] * len(batch) <= budget for batch in batches)
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(order, reverse=True)
    assert all(lengths[a[0]] * (len(a) + 1) > budget for a, _ in pairwise(batches)), "a batch has room left"


def test_items_of_one_length_keep_their_order() -> None:
    assert plan_batches([4, 9, 4, 4], budget=9) == [[1], [0, 2], [3]]
    assert plan_batches([]) == []


@pytest.mark.parametrize("pad", [1, 7])
def test_padding_changes_nothing(tiny_graphs: Path, pad: int) -> None:
    encoder = Encoder(tiny_graphs / "fp32.onnx", pad=pad)
    together = encoder.run([LONGER, SHORT, LONG])
    for window, found in zip((LONGER, SHORT, LONG), together, strict=True):
        (alone,) = encoder.run([window])
        assert found.tokens.shape == alone.tokens.shape == (len(window), LABELS)
        np.testing.assert_allclose(found.outputs, alone.outputs, atol=1e-4)
        np.testing.assert_allclose(found.tokens, alone.tokens, atol=1e-4)


def test_different_windows_differ_by_more_than_rounding(encoder: Encoder) -> None:
    one, other = encoder.run([SHORT, LONG])
    assert np.abs(one.outputs - other.outputs).max() > 0.1


@pytest.mark.parametrize("graph", ["fp32.onnx", "int8.onnx"])
def test_token_logits_average_to_the_messages(tiny_graphs: Path, graph: str) -> None:
    for found in Encoder(tiny_graphs / graph).run([LONGER, SHORT, LONG]):
        np.testing.assert_allclose(found.tokens.mean(axis=0), found.outputs[:LABELS], atol=1e-5)


def test_runs_side_by_side_do_not_mix(encoder: Encoder) -> None:
    windows = [LONGER[:n] for n in range(4, 40)]
    with ThreadPoolExecutor(4) as pool:
        side_by_side = list(pool.map(lambda window: encoder.run([window])[0].outputs, windows))
    np.testing.assert_allclose(side_by_side, [encoder.run([window])[0].outputs for window in windows], atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x08\x12\x04onnx"])
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=r"模型 model.onnx 无法载入"):
        Encoder(tmp_path / "model.onnx")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseCorrupt, match=r"模型 model.onnx 无法载入"):
        Encoder(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["input_ids"], ["logits", "token_logits"]),
        (["input_ids", "mask"], ["logits", "token_logits"]),
        (["input_ids", "attention_mask", "token_type_ids"], ["logits", "token_logits"]),
        (["input_ids", "attention_mask"], ["logits"]),
        (["input_ids", "attention_mask"], ["token_logits", "logits"]),
    ],
)
def test_a_graph_of_other_inputs_or_outputs_is_refused(tmp_path: Path, inputs: list[str], outputs: list[str]) -> None:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])

    nodes = [helper.make_node("Identity", ["input_ids"], [name]) for name in outputs]
    graph = helper.make_graph(nodes, "other", [*map(value, inputs)], [*map(value, outputs)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ReleaseCorrupt, match=r"model.onnx 的输入输出不符"):
        Encoder(tmp_path / "model.onnx")
