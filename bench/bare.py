"""The server to beat: FastAPI and onnxruntime int8 as most people write it, one message a run, no batching.

The graph is what ``onnxruntime.quantization.quantize_dynamic`` makes of the same network, in a session with default
options that FastAPI's thread pool calls. With ``BENCH_GRAPH`` unset it serves the release's own graph instead, through
the release's own session, so that only the serving differs. It answers the best label's index and nothing else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI

from triage.model.artifact import LEXICON, Release
from triage.model.encoder import Encoder
from triage.model.encoding import Encoding
from triage.text.normalize import Normalizer


def dynamic_graph(weights: Path, data: Path, scratch: Path) -> Path:
    """The usual int8 graph of a transformers folder: exported, fused, quantized dynamically."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from training.export import export_fp32
    from training.network import Heads, load_network
    from triage.taxonomy import Taxonomy

    heads = Heads.of(Taxonomy.load(data))
    export_fp32(load_network(str(weights), heads, 0.0).train(False), heads, scratch / "fp32.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(
            str(scratch / "fp32.onnx"),
            str(scratch / "dynamic.onnx"),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": 1},
        )
    return scratch / "dynamic.onnx"


def plain_session(path: str) -> Callable[[Sequence[int]], int]:
    """Best label of one row of ids, by a session with default options."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def best(ids: Sequence[int]) -> int:
        row = np.array([ids], dtype=np.int64)
        logits = session.run(["logits"], {"input_ids": row, "attention_mask": np.ones_like(row)})[0]
        return int(logits[0, :5].argmax())

    return best


def create_app(model: str, graph: str) -> FastAPI:
    """An app with ``POST /v1/classify`` that answers the best label's index."""
    release = Release.open(model)
    encoding = Encoding.load(release.path("tokenizer.json"))
    normalizer = Normalizer.load(release.folder / LEXICON)
    if graph:
        best = plain_session(graph)
    else:
        encoder = Encoder(release.path("model.onnx"), threads=2)

        def best(ids: Sequence[int]) -> int:
            return int(encoder.run([ids])[0].outputs[:5].argmax())

    app = FastAPI()

    @app.post("/v1/classify")
    def classify(body: dict[str, Any]) -> dict[str, Any]:
        return {"label": best(encoding.windows([normalizer(body["inputs"][0])])[0][0].ids)}

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(os.environ["BENCH_MODEL"], os.environ.get("BENCH_GRAPH", "")),
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        log_level="error",
    )
