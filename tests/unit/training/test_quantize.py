"""int8 stays near fp32 where activations have outliers, and never depends on the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from training.quantize import STRENGTHS, Product, Range, best_product, quantize_product
from triage.model.encoder import Encoder


def seen(rows: np.ndarray) -> Range:
    return Range(rows.min(axis=0), rows.max(axis=0), rows)


def rounding_error(rows: np.ndarray, weight: np.ndarray, strength: float | None) -> float:
    product = best_product(seen(rows), weight) if strength is None else quantize_product(seen(rows), weight, strength)
    return float(np.abs(product.apply(rows) - rows @ weight).mean() / np.abs(rows @ weight).mean())


@pytest.fixture
def outliers() -> tuple[np.ndarray, np.ndarray]:
    """Rows of which one channel is a hundred times the others, as in every BERT; and a weight."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(256, 64)).astype(np.float32)
    rows[:, 7] *= 100
    return rows, random.normal(size=(64, 48)).astype(np.float32) / 8


def test_smoothing_takes_outliers_out_of_the_way(outliers: tuple[np.ndarray, np.ndarray]) -> None:
    assert rounding_error(*outliers, None) < rounding_error(*outliers, 0.0) / 3


def test_without_outliers_eight_bits_are_enough() -> None:
    random = np.random.default_rng(1)
    assert rounding_error(random.random((64, 32), np.float32), random.random((32, 16), np.float32), None) < 0.01


def test_a_dead_channel_does_no_harm() -> None:
    rows = np.ones((8, 4), np.float32)
    rows[:, 2] = 0
    assert rounding_error(rows, np.eye(4, dtype=np.float32), None) < 0.01


def test_a_few_outliers_are_cut_where_that_serves_the_rest() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(2048, 32)).astype(np.float32)
    # In every channel, so that smoothing cannot help.
    rows[::512] *= 4
    weight = random.normal(size=(32, 16)).astype(np.float32)

    def error(product: Product) -> float:
        return float(np.square(product.apply(rows) - rows @ weight).mean())

    whole = min(error(quantize_product(seen(rows), weight, strength)) for strength in STRENGTHS)
    best = best_product(seen(rows), weight)
    assert error(best) < whole
    assert (best.smooth * rows).max() > 255 * best.scale - best.zero * best.scale


def test_what_is_wrong_on_average_is_taken_off() -> None:
    random = np.random.default_rng(4)
    rows = (random.normal(size=(512, 32)) + 3).astype(np.float32)
    weight = random.normal(size=(32, 16)).astype(np.float32)
    product = best_product(seen(rows), weight)
    assert np.abs((product.apply(rows) - rows @ weight).mean(axis=0)).max() < 1e-4
    assert np.abs(product.correction).max() > 0


@pytest.mark.parametrize("channels", [64, 63])
def test_two_neighbouring_products_always_fit_into_16_bits(channels: int) -> None:
    """Processors with AVX2 alone cut what does not, and would answer differently from the others."""
    random = np.random.default_rng(2)
    rows = np.abs(random.normal(size=(256, channels))).astype(np.float32) + 1
    weight = random.normal(size=(channels, 48)).astype(np.float32)
    weight[:2] = 3
    product = best_product(seen(rows), weight)
    steps = np.clip(np.rint(rows * product.smooth / product.scale) + product.zero, 0, 255)
    products = steps[:, :, None] * product.weight[None].astype(np.int64)
    if channels % 2:
        products = np.pad(products, ((0, 0), (0, 1), (0, 0)))
    sums = products[:, 0::2] + products[:, 1::2]
    assert sums.min() >= -(2**15)
    assert sums.max() < 2**15
    # Not by giving the range away.
    assert steps.max() > 200
    assert rounding_error(rows, weight, None) < 0.02


def test_every_product_but_the_last_is_int8(tiny_graphs: Path) -> None:
    nodes = onnx.load(tiny_graphs / "int8.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("MatMul") == 1
    assert kinds.count("MatMulIntegerToFloat") == 2 * 6
    assert kinds.count("MultiHeadAttention") == 2


def test_an_answer_does_not_depend_on_the_batch(tiny_graphs: Path) -> None:
    encoder = Encoder(tiny_graphs / "int8.onnx")
    windows = [(0, *range(4, 4 + length), 2) for length in (3, 40, 9, 71)]
    together = encoder.run(windows)
    for window, logits in zip(windows, together, strict=True):
        np.testing.assert_allclose(encoder.run([window])[0].outputs, logits.outputs, atol=1e-4)
