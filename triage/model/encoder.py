"""The only door to onnxruntime: batches of ids in, logits out.

The exported graph has two inputs, ``input_ids`` and ``attention_mask`` [batch, tokens] (int64), and two outputs,
``logits`` [batch, outputs] and ``token_logits`` [batch, tokens, labels] (float32). A message's label logits are the
mean of its tokens' (special tokens included), so the token logits say exactly what each token contributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from triage.errors import ReleaseCorrupt

# Tokens in one batch, padding included. Measured on two cores: larger batches leave the cache, smaller ones leave
# the matrix units idle.
TOKEN_BUDGET = 512


@dataclass(frozen=True, slots=True)
class Logits:
    """What the encoder says of one window.

    Attributes:
        outputs: [outputs] label, secondary and urgency logits, one after another.
        tokens: [tokens, labels] contribution of each token to the label logits.
    """

    outputs: NDArray[np.float32]
    tokens: NDArray[np.float32]


def plan_batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Group items of like length so that no batch holds more than ``budget`` tokens with its padding.

    Args:
        lengths: tokens of each item.
        budget: largest padded batch; an item longer than it is a batch of its own.

    Returns:
        Indices into ``lengths``, each once; within a batch from the longest to the shortest.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(index)
    return [*batches, batch] if batch else batches


class Encoder:
    """An ONNX model on the processor.

    Args:
        path: ``model.onnx``.
        threads: threads of one run.
        pad: id that fills short rows; it is masked out.

    Raises:
        ReleaseCorrupt: the file is not a graph of the expected inputs and outputs.
    """

    def __init__(self, path: Path, threads: int = 1, pad: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning pool takes the processor from the web server's own thread between two runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The file holds every fusion that helps; onnxruntime would undo one of them.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many classes of its own
            raise ReleaseCorrupt(f"模型 {path.name} 无法载入", f"cannot load the model {path.name}") from error
        inputs = {node.name for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        if inputs != {"input_ids", "attention_mask"} or outputs != ["logits", "token_logits"]:
            raise ReleaseCorrupt(
                f"模型 {path.name} 的输入输出不符：{sorted(inputs)} → {outputs}",
                f"{path.name} has inputs {sorted(inputs)} and outputs {outputs}, which are not a triage model's",
            )
        self._pad = pad

    def run(self, batch: Sequence[Sequence[int]]) -> list[Logits]:
        """Run one batch. Thread-safe.

        Args:
            batch: ids of each window; padded here to the longest.

        Returns:
            Logits of each window, without its padding.
        """
        width = max(len(ids) for ids in batch)
        ids = np.full((len(batch), width), self._pad, dtype=np.int64)
        mask = np.zeros((len(batch), width), dtype=np.int64)
        for row, window in enumerate(batch):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        outputs, tokens = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        return [Logits(outputs[row], tokens[row, : len(window)]) for row, window in enumerate(batch)]
