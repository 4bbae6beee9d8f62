"""Fixtures that more than one kind of test uses: the data folder, a tiny base encoder, a tiny release."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder of this checkout."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The release that is served."""
    return ROOT / "models" / "current"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A random two-layer BERT over single characters: any BERT-like folder may stand in for the real base."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-base")
    text = (data / "corpus" / "validation.jsonl").read_text(encoding="utf-8")
    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(set(text) - set("\n"))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=1,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
