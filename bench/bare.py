"""The server to beat: FastAPI and onnxruntime int8 as most people write it, one message a run, no batching.

Same graph, same encoding; one session with all threads, called from FastAPI's thread pool.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI

from triage.model.artifact import LEXICON, Release
from triage.model.encoder import Encoder
from triage.model.encoding import Encoding
from triage.text.normalize import Normalizer


def create_app(model: str) -> FastAPI:
    """An app with ``POST /v1/classify`` that answers the best label's index."""
    release = Release.open(model)
    encoding = Encoding.load(release.path("tokenizer.json"))
    normalizer = Normalizer.load(release.folder / LEXICON)
    encoder = Encoder(release.path("model.onnx"), threads=2)
    app = FastAPI()

    @app.post("/v1/classify")
    def classify(body: dict[str, Any]) -> dict[str, Any]:
        window = encoding.windows([normalizer(body["inputs"][0])])[0][0]
        return {"label": int(encoder.run([window.ids])[0].outputs[:5].argmax())}

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(os.environ["BENCH_MODEL"]), host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_level="error"
    )
