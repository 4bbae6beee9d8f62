"""What is exported says what the network says: torch, ONNX fp32, ONNX int8 and transformers agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedModel

from training import corpus
from training.build import load_encoding
from training.export import export_hf
from training.network import ExportedNetwork, Heads, message_logits, padded
from training.recipe import Recipe
from triage.model.encoder import Encoder
from triage.model.encoding import Encoding
from triage.taxonomy import Taxonomy
from triage.text import Normalizer

# One token, few, as many as the positions hold.
WINDOWS = [(0, 5, 2), (0, *range(9, 30), 2), (0, *range(30, 156), 2)]
TEXTS = ["消防通道着火", "对方让我转账到安全账户", "两车追尾" * 9]


@pytest.fixture(scope="module")
def heads(data: Path) -> Heads:
    return Heads.of(Taxonomy.load(data))


@pytest.fixture(scope="module")
def encoding(tiny_base: Path) -> Encoding:
    return load_encoding(Recipe(base=str(tiny_base), max_tokens=64, overlap=16))[0]


@pytest.fixture(scope="module")
def windows(data: Path, encoding: Encoding) -> list[tuple[int, ...]]:
    """Windows of messages of the corpus."""
    texts = [message.text for message in corpus.load(data / "corpus" / "validation.jsonl")[:60]]
    normalizer = Normalizer.load(data / "lexicon")
    return [window.ids for found in encoding.windows(map(normalizer, texts)) for window in found]


def outputs(graph: Path, windows: list[tuple[int, ...]]) -> NDArray[np.float32]:
    encoder = Encoder(graph)
    return np.stack([encoder.run([window])[0].outputs for window in windows])


@torch.no_grad()
def test_the_fp32_graph_is_the_network(tiny_network: PreTrainedModel, tiny_graphs: Path, heads: Heads) -> None:
    ids, mask = padded(WINDOWS, pad=1)
    logits, tokens = ExportedNetwork(tiny_network, heads)(ids, mask)
    assert logits.shape == (3, heads.outputs)
    for row, found in enumerate(Encoder(tiny_graphs / "fp32.onnx").run(WINDOWS)):
        np.testing.assert_allclose(found.outputs, logits[row], atol=1e-4)
        np.testing.assert_allclose(found.tokens, tokens[row, : len(WINDOWS[row])], atol=1e-4)


def test_int8_says_nearly_the_same(tiny_graphs: Path, windows: list[tuple[int, ...]], heads: Heads) -> None:
    exact, rounded = (outputs(tiny_graphs / name, windows) for name in ("fp32.onnx", "int8.onnx"))
    assert np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    labels = exact[:, : heads.labels].argmax(axis=1), rounded[:, : heads.labels].argmax(axis=1)
    assert len(set(labels[0])) > 1, "a network that always says the same would agree by itself"
    assert (labels[0] == labels[1]).mean() > 0.9


def test_attention_is_fused(tiny_graphs: Path) -> None:
    kinds = [node.op_type for node in onnx.load(tiny_graphs / "fp32.onnx").graph.node]
    assert kinds.count("Attention") == 2, "one for each layer"
    assert "Softmax" not in kinds


@torch.no_grad()
def test_transformers_loads_the_weights_and_their_mean_is_ours(
    tiny_network: PreTrainedModel, tiny_base: Path, encoding: Encoding, data: Path, tmp_path: Path
) -> None:
    export_hf(tiny_network, str(tiny_base), encoding.max_tokens, tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    normalizer = Normalizer.load(data / "lexicon")
    ids, mask = padded([found[0].ids for found in encoding.windows(map(normalizer, TEXTS))], pad=1)
    assert batch["input_ids"].tolist() == ids.tolist()
    assert batch["attention_mask"].tolist() == mask.tolist()
    assert tokenizer.model_max_length == encoding.max_tokens
    theirs = model.train(False)(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    weights = batch["attention_mask"].unsqueeze(-1)
    ours = message_logits(tiny_network(input_ids=ids, attention_mask=mask).logits, mask)
    torch.testing.assert_close((theirs * weights).sum(1) / weights.sum(1), ours, rtol=0, atol=1e-5)
