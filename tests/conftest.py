"""Fixtures that more than one kind of test uses: the data folder, a tiny base encoder, a tiny release."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import postgres_server
import pytest

from triage.engine import Triage
from triage.taxonomy import Taxonomy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.build import Job

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Whoever runs the tests may have ``TRIAGE_*`` variables of a service of their own; ``serve`` would read them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("TRIAGE_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of the tests' own."""
    with postgres_server.running() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'triage.db'}"
    return postgres_server.new_database(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder of this checkout."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The release that is served."""
    return ROOT / "models" / "current"


@pytest.fixture(scope="session")
def served(shipped: Path) -> Triage:
    """The shipped release, loaded once as the service loads it."""
    return Triage.load(shipped, workers=1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A random two-layer BERT over single characters: any BERT-like folder may stand in for the real base."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-base")
    # So many lines and no more: a corpus that grows must not change the vocabulary, and with it every random weight.
    text = "".join((data / "corpus" / "validation.jsonl").read_text(encoding="utf-8").splitlines()[:380])
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


@pytest.fixture(scope="session")
def tiny_network(tiny_base: Path, data: Path) -> PreTrainedModel:
    """A network on the tiny base, untrained; its last layer is drawn wide enough for logits that differ."""
    import torch

    from training.network import Heads, load_network

    torch.manual_seed(0)
    model = load_network(str(tiny_base), Heads.of(Taxonomy.load(data)), 0.0)
    torch.nn.init.normal_(model.get_submodule("classifier").weight)
    return model.train(False)


@pytest.fixture(scope="session")
def tiny_graphs(tiny_network: PreTrainedModel, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``fp32.onnx`` and ``int8.onnx`` of the tiny network."""
    from training.export import export_fp32
    from training.network import Heads
    from training.quantize import quantize

    folder = tmp_path_factory.mktemp("tiny-graphs")
    export_fp32(tiny_network, Heads.of(Taxonomy.load(data)), folder / "fp32.onnx")
    ids = random.Random(0)
    windows = [(0, *(ids.randrange(4, tiny_network.config.vocab_size) for _ in range(20)), 2) for _ in range(40)]
    quantize(folder / "fp32.onnx", folder / "int8.onnx", windows)
    return folder


@pytest.fixture(scope="session")
def tiny_data(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder with ten messages of each label in each split."""
    from training import corpus

    folder = tmp_path_factory.mktemp("tiny-data")
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("*.jsonl"), dirs_exist_ok=True)
    for split, messages in corpus.load_splits(data).items():
        few = [[m for m in messages if m.label == label][:10] for label in Taxonomy.load(data).ids]
        corpus.save(folder / "corpus" / f"{split}.jsonl", [m for part in few for m in part])
    return folder


@pytest.fixture(scope="session")
def tiny_job(tiny_base: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """What the tiny release is built from: one epoch of seven steps."""
    from training.build import Job
    from training.recipe import Recipe, TrainRecipe

    train = TrainRecipe(epochs=1, batch_size=8, learning_rate=3e-3, head_learning_rate=1e-2, checkpoint_every=2)
    recipe = Recipe(base=str(tiny_base), max_tokens=64, overlap=16, train=train)
    root = tmp_path_factory.mktemp("tiny-build")
    return Job(recipe, tiny_data, "tiny-1", root / "runs" / "tiny-1", root / "models" / "tiny-1", with_hf=True)


@pytest.fixture(scope="session")
def tiny_release(tiny_job: Job) -> Path:
    """A release built end to end; not to be written to. The same in fp32 lies beside, in ``tiny_job.work / "fp32"``."""
    from training.build import build

    build(tiny_job)
    return tiny_job.out
