"""From a trained network to the graph that is served: ONNX, fused, int8 weights per channel."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.network import ExportedNetwork, Heads
from triage.model.encoding import Encoding

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
            fused = optimize_model(
                str(plain),
                model_type="bert",
                num_heads=config.num_attention_heads,
                hidden_size=config.hidden_size,
                optimization_options=FusionOptions("bert"),
                opt_level=0,
            )
            fused.save_model_to_file(str(target))


def quantize(source: Path, target: Path) -> None:
    """Quantize the weights of a fused fp32 graph to int8 per channel; activations are quantized as they come."""
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        quantize_dynamic(
            str(source),
            str(target),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": 1},  # onnx.TensorProto.FLOAT: fused outputs carry no type of their own
        )


def export_hf(model: PreTrainedModel, encoding: Encoding, target: Path) -> None:
    """Write ordinary transformers weights: ``AutoModelForTokenClassification`` whose token logits average to ours."""
    model.save_pretrained(target)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=encoding.tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=encoding.max_tokens,
    ).save_pretrained(target)


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
