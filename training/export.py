"""From a trained network to a fused fp32 ONNX graph, and to ordinary transformers weights."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import AutoTokenizer, PreTrainedModel

from training.network import ExportedNetwork, Heads

OPSET = 17


def export_fp32(model: PreTrainedModel, heads: Heads, target: Path) -> None:
    """Write the network as one fp32 ONNX file with fused attention, layer norm and GELU.

    Inputs and outputs are those of ``triage.model.encoder``; batch and tokens are free.
    """
    # The fusions know the plain form of attention only.
    model.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        sample = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                ExportedNetwork(model, heads).train(False),
                (sample, mask),
                str(plain),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits", "token_logits"],
                dynamic_axes={
                    "input_ids": {0: "batch", 1: "tokens"},
                    "attention_mask": {0: "batch", 1: "tokens"},
                    "logits": {0: "batch"},
                    "token_logits": {0: "batch", 1: "tokens"},
                },
                opset_version=OPSET,
                dynamo=False,
            )
            config = model.config
            fusions = FusionOptions("bert")
            # Whole, the embedding could only be quantized by one step for all its rows.
            fusions.enable_embed_layer_norm = False
            fused = optimize_model(
                str(plain),
                model_type="bert",
                num_heads=config.num_attention_heads,
                hidden_size=config.hidden_size,
                optimization_options=fusions,
                opt_level=0,
            )
            fused.save_model_to_file(str(target))


def export_hf(model: PreTrainedModel, base: str, max_tokens: int, target: Path) -> None:
    """Write ordinary transformers weights: ``AutoModelForTokenClassification`` whose token logits average to ours."""
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(base, model_max_length=max_tokens).save_pretrained(target)


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Exporters print and log progress of no interest to the reader of a terminal."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)
