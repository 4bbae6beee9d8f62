"""What the machine can do at the most, and what reading a message needs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

THREADS = 2
SHAPES = ((512, 384, 1536), (512, 1536, 384), (1024, 1536, 1536))


def message_operations(tokens: int, layers: int = 12, hidden: int = 384, feed_forward: int = 1536) -> int:
    """Multiplications and additions that an encoder needs for one message, padding not counted."""
    return 2 * layers * (4 * hidden**2 * tokens + 2 * hidden * feed_forward * tokens + 2 * tokens**2 * hidden)


def int8_peak(seconds: float = 1.0) -> float:
    """Best int8 (u8 × s8 → s32) operations per second of onnxruntime's own product over ``SHAPES``, two at once."""
    return max(_rate(_int8_session(k, n), (m, k), np.uint8, 2 * m * k * n, seconds) for m, k, n in SHAPES)


def _rate(session: ort.InferenceSession, shape: tuple[int, int], kind: type, work: int, seconds: float) -> float:
    inputs = {"a": np.ones(shape, dtype=kind)}
    session.run(None, inputs)
    until = time.perf_counter() + seconds

    def loop(_: int) -> int:
        done = 0
        while time.perf_counter() < until:
            session.run(None, inputs)
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(loop, range(THREADS)))
    return done * work / (time.perf_counter() - start)


def _session(node: onnx.NodeProto, a: int, c: int, weight: np.ndarray, k: int, n: int) -> ort.InferenceSession:
    graph = helper.make_graph(
        [node],
        "gemm",
        [helper.make_tensor_value_info("a", a, [None, k])],
        [helper.make_tensor_value_info("c", c, [None, n])],
        [onnx.numpy_helper.from_array(weight, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _int8_session(k: int, n: int) -> ort.InferenceSession:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    return _session(node, TensorProto.UINT8, TensorProto.INT32, np.ones((k, n), dtype=np.int8), k, n)
