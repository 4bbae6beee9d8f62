"""From a fused fp32 graph to int8 with fixed activation ranges: an answer never depends on who shares the batch.

Method: SmoothQuant (Xiao et al. 2022, arXiv:2211.10438). A channel of an activation that is large everywhere is divided
by a factor which its row of the weight is multiplied with; what is left fits into eight bits. The strength is chosen
for each product by the error it leaves on real messages, as AWQ does (Lin et al. 2023, arXiv:2306.00978), and so is the
share of the range that the eight bits are spent on: a few outliers may be cut. What a product is then wrong by on
average is taken off as a bias (Nagel et al. 2019, arXiv:1906.04721). Weights are int8 by output channel; activations
uint8 with a range measured beforehand; word embeddings int8 by row.

Processors with AVX2 alone add two neighbouring products in 16 bits and cut what does not fit (``vpmaddubsw``), so that
the same file would answer differently there. Output channels where that could happen get a wider scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
STRENGTHS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6)
# Steps of 255 by which an activation may exceed what was measured before a sum is cut.
_HEADROOM = 16
# Rows of each activation that are kept to choose the strength by.
SAMPLE_ROWS = 2048
_SMALL = 1e-5
# Largest sum of two products in 16 bits, less what rounding two weights can add to it.
_PAIR_LIMIT = 2**15 - 1 - 255

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """What an activation was seen to hold.

    Attributes:
        low: [channels] smallest value.
        high: [channels] largest value.
        rows: [rows, channels] some of its rows.
    """

    low: Floats
    high: Floats
    rows: Floats


@dataclass(frozen=True, slots=True)
class Product:
    """One matrix product, quantized.

    Attributes:
        strength: of the smoothing.
        smooth: [channels] the activation is multiplied by it.
        scale, zero: of the smoothed activation, uint8.
        weight: [channels, outputs] int8.
        weight_scale: [outputs].
        correction: [outputs] added to every result.
    """

    strength: float
    smooth: Floats
    scale: np.float32
    zero: np.uint8
    weight: NDArray[np.int8]
    weight_scale: Floats
    correction: Floats

    def apply(self, rows: Floats) -> Floats:
        """What the quantized product gives: [rows, channels] → [rows, outputs]."""
        steps = np.clip(np.rint(rows * self.smooth / self.scale) + self.zero, 0, 255) - self.zero
        result: Floats = (steps * self.scale) @ (self.weight * self.weight_scale) + self.correction
        return result


def quantize(source: Path, target: Path, windows: Iterable[Sequence[int]]) -> None:
    """Quantize a graph that ``training.export.export_fp32`` wrote.

    Args:
        source: the fp32 graph.
        target: file to write.
        windows: ids of some hundred messages like those that will be read; their activations set the ranges.
    """
    model = onnx.load(source)
    editor = _Editor(model)
    nodes = [node for node in model.graph.node if _is_product(node, editor.exact)]
    ranges = _measure(model, sorted({node.input[0] for node in nodes}), windows)
    for node in nodes:
        editor.replace_product(node, best_product(ranges[node.input[0]], editor.weight(node.input[1])))
    editor.replace_word_embedding()
    editor.split_norms()
    editor.save(target)


def best_product(seen: Range, weight: Floats) -> Product:
    """The product of all strengths and shares that is nearest to the exact one on the seen rows, its bias taken off."""
    exact = seen.rows @ weight

    def error(product: Product) -> float:
        return float(np.square(product.apply(seen.rows) - exact).mean())

    best = min((quantize_product(seen, weight, strength) for strength in STRENGTHS), key=error)
    best = min((quantize_product(seen, weight, best.strength, share) for share in SHARES), key=error)
    return replace(best, correction=(exact - best.apply(seen.rows)).mean(axis=0))


def quantize_product(seen: Range, weight: Floats, strength: float, share: float = 1.0) -> Product:
    """Smooth and round.

    Args:
        seen: what the activation holds.
        weight: [channels, outputs].
        strength: in [0, 1]; 0: not smoothed at all; 1: wholly into the weight.
        share: of the measured range that the eight bits cover, in (0, 1]; what lies beyond is cut.
    """
    largest = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), _SMALL)
    factor = largest**strength / np.maximum(np.abs(weight).max(axis=1), _SMALL) ** (1 - strength)
    factor = factor / np.exp(np.log(factor).mean()) if strength else np.ones_like(largest)
    smooth = (1 / factor).astype(np.float32)
    low = share * min(0.0, float((seen.low * smooth).min()))
    high = share * max(0.0, float((seen.high * smooth).max()))
    scale = np.float32(max(high - low, _SMALL) / 255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    smoothed = weight * factor[:, None]
    highest = np.clip(np.rint(seen.high * smooth / scale) + zero + _HEADROOM, 0, 255)
    rounded, weight_scale = _int8(smoothed, axis=0, least=_pair_sums(highest, smoothed) / np.float32(_PAIR_LIMIT))
    none = np.zeros(weight.shape[1], np.float32)
    return Product(strength, smooth, scale, np.uint8(zero), rounded, weight_scale[0], none)


def _pair_sums(highest: Floats, weight: Floats) -> Floats:
    """Largest sum of two neighbouring products of one sign: [channels], [channels, outputs] → [1, outputs]."""
    products = highest[:, None] * weight
    products = np.pad(products, ((0, len(products) % 2), (0, 0))).reshape(-1, 2, weight.shape[1])
    sums = [np.maximum(sign * products, 0).sum(axis=1).max(axis=0) for sign in (1, -1)]
    result: Floats = np.maximum(*sums)[None].astype(np.float32)
    return result


def _int8(table: Floats, axis: int, least: Floats | float = 0.0) -> tuple[NDArray[np.int8], Floats]:
    """Round symmetrically with one scale for each slice along ``axis``; the scale keeps that axis, of length 1.

    Args:
        table: what to round.
        axis: along which values share a scale.
        least: a scale is at least this.
    """
    scale = np.maximum(np.abs(table).max(axis=axis, keepdims=True), _SMALL) / 127
    scale = np.maximum(scale, least).astype(np.float32)
    return np.rint(table / scale).astype(np.int8), scale


def _is_product(node: NodeProto, weights: dict[str, TensorProto]) -> bool:
    """Products with a constant matrix; the narrow last layer stays exact."""
    if node.op_type not in ("MatMul", "Attention") or node.input[1] not in weights:
        return False
    return int(weights[node.input[1]].dims[-1]) >= 32


def _measure(model: onnx.ModelProto, names: Sequence[str], windows: Iterable[Sequence[int]]) -> dict[str, Range]:
    """Run messages one by one, so that no padding is measured."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low: dict[str, Floats] = {}
    high: dict[str, Floats] = {}
    rows: dict[str, list[Floats]] = {name: [] for name in names}
    for ids in windows:
        inputs = {"input_ids": np.array([ids], dtype=np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
        for name, value in zip(names, session.run(names, inputs), strict=True):
            flat = value.reshape(-1, value.shape[-1])
            low[name] = np.minimum(low.get(name, flat[0]), flat.min(axis=0))
            high[name] = np.maximum(high.get(name, flat[0]), flat.max(axis=0))
            # The first token is like no other: it is in every message, and so in every sample.
            rows[name].append(flat[:: max(1, len(flat) // 4)][:4])
    return {name: Range(low[name], high[name], _some(np.concatenate(rows[name]))) for name in names}


def _some(rows: Floats) -> Floats:
    return rows[:: -(-len(rows) // SAMPLE_ROWS)]


class _Editor:
    """Replaces nodes of a graph one at a time."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self.exact = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made = 0

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        self.made += 1
        name = f"quantized_{self.made}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.exact[name])

    def replace(self, old: NodeProto, new: Sequence[NodeProto]) -> None:
        at = list(self.graph.node).index(old)
        self.graph.node.remove(old)
        for offset, node in enumerate(new):
            self.graph.node.insert(at + offset, node)

    def replace_product(self, node: NodeProto, product: Product) -> None:
        scale, zero = self.constant(product.scale), self.constant(product.zero)
        self.made += 1
        smooth, steps = f"smooth_{self.made}", f"steps_{self.made}"
        new = [
            helper.make_node("Mul", [node.input[0], self.constant(product.smooth)], [smooth]),
            helper.make_node("QuantizeLinear", [smooth, scale, zero], [steps]),
        ]

        def multiply(part: slice, bias: Floats, output: str) -> NodeProto:
            inputs = [
                steps,
                self.constant(product.weight[:, part]),
                scale,
                self.constant(product.weight_scale[part]),
                zero,
                self.constant(np.zeros(product.weight[:, part].shape[1], np.int8)),
                self.constant((bias + product.correction[part]).astype(np.float32)),
            ]
            return helper.make_node("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT)

        if node.op_type == "Attention":
            new += self._attention(node, multiply)
        else:
            new.append(multiply(slice(None), np.zeros_like(product.correction), node.output[0]))
        self.replace(node, new)

    def _attention(self, node: NodeProto, multiply: Callable[[slice, Floats, str], NodeProto]) -> list[NodeProto]:
        """Query, key and value as three products, then exact attention: faster than the fused int8 kernel."""
        bias = self.weight(node.input[2])
        width = len(bias) // 3
        names = [f"{node.output[0]}_{part}" for part in ("query", "key", "value")]
        new = [
            multiply(slice(i * width, (i + 1) * width), bias[i * width : (i + 1) * width], name)
            for i, name in enumerate(names)
        ]
        heads = next(a for a in node.attribute if a.name == "num_heads").i
        new.append(
            helper.make_node(
                "MultiHeadAttention", [*names, "", node.input[3]], node.output, domain=MICROSOFT, num_heads=heads
            )
        )
        return new

    def split_norms(self) -> None:
        """Sum and norm apart: onnxruntime's fused kernel for the processor is several times slower than the two."""
        for node in [n for n in self.graph.node if n.op_type == "SkipLayerNormalization"]:
            first, skip, gamma, beta, *bias = node.input
            sums = [f"{node.output[0]}_sum_{i}" for i in range(2)]
            new = [helper.make_node("Add", [first, skip], [sums[0]])]
            if bias and bias[0]:
                new.append(helper.make_node("Add", [sums[0], bias[0]], [sums[1]]))
            epsilon = next(a for a in node.attribute if a.name == "epsilon").f
            last = new[-1].output[0]
            new.append(
                helper.make_node("LayerNormalization", [last, gamma, beta], node.output[:1], axis=-1, epsilon=epsilon)
            )
            self.replace(node, new)

    def replace_word_embedding(self) -> None:
        """int8 by row: the rows of rare pieces are much shorter than those of frequent ones."""
        node = max(
            (n for n in self.graph.node if n.op_type == "Gather" and n.input[0] in self.exact),
            key=lambda n: int(np.prod(self.exact[n.input[0]].dims)),
        )
        table = self.weight(node.input[0])
        rounded, scale = _int8(table, axis=1)
        rows = self.constant(rounded)
        names = [f"{node.output[0]}_{part}" for part in ("steps", "float", "scale")]
        new = [
            helper.make_node("Gather", [rows, node.input[1]], [names[0]]),
            helper.make_node("Cast", [names[0]], [names[1]], to=TensorProto.FLOAT),
            helper.make_node("Gather", [self.constant(scale), node.input[1]], [names[2]]),
            helper.make_node("Mul", [names[1], names[2]], node.output),
        ]
        self.replace(node, new)

    def save(self, target: Path) -> None:
        used = {name for node in self.graph.node for name in node.input}
        for tensor in [tensor for tensor in self.graph.initializer if tensor.name not in used]:
            self.graph.initializer.remove(tensor)
        if MICROSOFT not in {opset.domain for opset in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        # Shapes and types that the exact graph had no longer fit.
        del self.graph.value_info[:]
        onnx.save(self.model, target)
