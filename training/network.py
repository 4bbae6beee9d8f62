"""The network: any BERT-like encoder with one linear layer on every token; a message's logits are the tokens' mean.

Because the layer is linear, the mean of the tokens' logits equals the logits of the tokens' mean vector: the model is
ordinary mean pooling, loads as an ordinary ``AutoModelForTokenClassification``, and tells exactly what each token adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedModel

from triage.errors import TrainingError
from triage.taxonomy import Taxonomy, Urgency

URGENCIES = (Urgency.ROUTINE, Urgency.URGENT, Urgency.EMERGENCY)


@dataclass(frozen=True, slots=True)
class Heads:
    """Where each task's logits stand among the outputs: labels, then secondary labels, then urgencies.

    Attributes:
        labels: number of primary labels.
        secondary: number of report labels.
    """

    labels: int
    secondary: int

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Heads:
        return cls(len(taxonomy.ids), len(taxonomy.dispatch_ids))

    @property
    def outputs(self) -> int:
        return self.labels + self.secondary + len(URGENCIES)

    def split(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[…, outputs] → label, secondary and urgency logits."""
        label, secondary, urgency = torch.split(logits, [self.labels, self.secondary, len(URGENCIES)], dim=-1)
        return label, secondary, urgency


def load_network(base: str, heads: Heads, dropout: float, attention_dropout: float = 0.0) -> PreTrainedModel:
    """A base encoder with a fresh last layer.

    Args:
        base: Hugging Face folder or hub id.
        heads: decides the number of outputs.
        dropout: in [0, 1), in the encoder and before the last layer.
        attention_dropout: in [0, 1), of attention probabilities.

    Raises:
        TrainingError: the base cannot be loaded.
    """
    try:
        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(
            base,
            num_labels=heads.outputs,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=attention_dropout,
            classifier_dropout=dropout,
        )
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"无法载入基础模型 {base}；可先运行 triage base 生成 models/base",
            f"cannot load the base model {base}; `triage base` builds models/base. {error}",
        ) from error
    return model


def padded(windows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [batch, longest] of windows of ids."""
    rows = [torch.tensor(window) for window in windows]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids, mask


def message_logits(token_logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of the token logits over the tokens that are not padding: [batch, tokens, outputs] → [batch, outputs]."""
    weights = mask.unsqueeze(-1).to(token_logits.dtype)
    return (token_logits * weights).sum(dim=1) / weights.sum(dim=1)


class ExportedNetwork(nn.Module):
    """The graph that is served: see ``triage.model.encoder`` for its inputs and outputs."""

    def __init__(self, model: PreTrainedModel, heads: Heads) -> None:
        super().__init__()
        self.model = model
        self.heads = heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return message_logits(tokens, attention_mask), tokens[..., : self.heads.labels]
