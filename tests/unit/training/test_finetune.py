"""Training on a tiny base: it learns, it resumes to the same weights, its rates fall towards the bottom."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from pypinyin import lazy_pinyin

from training import corpus
from training.augment import Augmenter, drop_punctuation
from training.build import load_encoding
from training.disguise import Disguiser
from training.finetune import Progress, Reader, finetune, length_grouped, parameter_groups, rate_share
from training.network import Heads, load_network, message_logits, padded
from training.recipe import AugmentRecipe, Recipe, TrainRecipe, load_recipe
from triage.errors import TrainingError
from triage.taxonomy import Taxonomy
from triage.text import Normalizer


def recipe(base: Path, **train: object) -> Recipe:
    knobs = {"epochs": 4, "batch_size": 8, "learning_rate": 3e-3, "head_learning_rate": 1e-2, "checkpoint_every": 5}
    return Recipe(base=str(base), max_tokens=64, overlap=16, train=TrainRecipe(**{**knobs, **train}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def messages(data: Path) -> list[corpus.Message]:
    """As many of each of three labels, so that there is something to learn in a few steps."""
    rows = corpus.load(data / "corpus" / "validation.jsonl")
    parts = [[row for row in rows if row.label == label][:16] for label in ("traffic", "fire_hazard", "other")]
    return [row for part in parts for row in part]


def train(data: Path, messages: list[corpus.Message], knobs: Recipe, work: Path, stop: int = 0) -> list[float]:
    """Losses of all steps; with ``stop`` the training is killed after that step."""
    losses: list[float] = []

    def watch(at: Progress) -> None:
        losses.append(at.loss)
        if at.step == stop:
            raise KeyboardInterrupt

    encoding, pad = load_encoding(knobs)
    reader = Reader(Normalizer.load(data / "lexicon"), encoding, pad)
    augmenter = Augmenter(knobs.augment, Disguiser.load(data))
    model = finetune(messages, Taxonomy.load(data), reader, augmenter, knobs, work, watch)
    torch.save({key: value for key, value in model.state_dict().items()}, work / "final.pt")
    return losses


@pytest.mark.usefixtures("tiny_base")
def test_learns_and_resumes_to_the_same_weights(
    data: Path, tiny_base: Path, messages: list[corpus.Message], tmp_path: Path
) -> None:
    knobs = recipe(tiny_base)
    (tmp_path / "whole").mkdir()
    losses = train(data, messages, knobs, tmp_path / "whole")
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    (tmp_path / "killed").mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(data, messages, knobs, tmp_path / "killed", stop=13)
    rest = train(data, messages, knobs, tmp_path / "killed")
    assert len(rest) == len(losses) - 10, "goes on from the checkpoint at step 10"
    assert rest == pytest.approx(losses[10:], rel=1e-4)
    whole = torch.load(tmp_path / "whole" / "final.pt", weights_only=True)
    resumed = torch.load(tmp_path / "killed" / "final.pt", weights_only=True)
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-5)


def test_a_second_cycle_goes_on_from_the_average_of_the_first(
    data: Path, tiny_base: Path, messages: list[corpus.Message], tmp_path: Path
) -> None:
    two = recipe(tiny_base, epochs=2, cycles=2)
    one = recipe(tiny_base, epochs=1, cycles=1)
    for name in ("one", "two", "killed"):
        (tmp_path / name).mkdir()
    first, both = train(data, messages, one, tmp_path / "one"), train(data, messages, two, tmp_path / "two")
    assert len(both) == 2 * len(first)
    assert both[: len(first)] == pytest.approx(first, rel=1e-4)
    # Killed in its second cycle and gone on with, it ends where it would have ended.
    with pytest.raises(KeyboardInterrupt):
        train(data, messages, two, tmp_path / "killed", stop=len(first) + 5)
    train(data, messages, two, tmp_path / "killed")
    whole = torch.load(tmp_path / "two" / "final.pt", weights_only=True)
    resumed = torch.load(tmp_path / "killed" / "final.pt", weights_only=True)
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-5)


def test_the_rate_rises_and_falls_once_a_cycle() -> None:
    shares = [rate_share(at, steps=20, cycle=10, warmup=0.2) for at in range(21)]
    assert shares[:10] == pytest.approx([0.5, 1.0, *((10 - at) / 8 for at in range(2, 10))])
    assert shares[10:20] == shares[:10]
    assert shares[20] == 0


def test_a_checkpoint_of_other_data_is_not_gone_on_with(
    data: Path, tiny_base: Path, messages: list[corpus.Message], tmp_path: Path
) -> None:
    knobs = recipe(tiny_base)
    with pytest.raises(KeyboardInterrupt):
        train(data, messages, knobs, tmp_path, stop=6)
    assert len(train(data, messages[::-1], knobs, tmp_path)) == 24


def test_rates_fall_towards_the_bottom(data: Path, tiny_base: Path) -> None:
    model = load_network(str(tiny_base), Heads.of(Taxonomy.load(data)), 0.1)
    groups = parameter_groups(model, TrainRecipe(learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5))
    by_name = {id(p): name for name, p in model.named_parameters()}
    rates = {by_name[id(g["params"][0])]: g["lr"] for g in groups}  # type: ignore[index]
    assert rates["classifier.weight"] == 1e-2
    assert rates["bert.encoder.layer.1.output.dense.weight"] == 1e-3
    assert rates["bert.encoder.layer.0.output.dense.weight"] == 5e-4
    assert rates["bert.embeddings.word_embeddings.weight"] == 2.5e-4


def test_the_mean_of_token_logits_ignores_padding() -> None:
    ids, mask = padded([[0, 5, 2], [0, 2]], pad=1)
    assert ids.tolist() == [[0, 5, 2], [0, 2, 1]]
    tokens = torch.tensor([[[1.0], [2.0], [6.0]], [[1.0], [3.0], [99.0]]])
    assert message_logits(tokens, mask).tolist() == [[3.0], [2.0]]


def test_batches_hold_messages_of_like_length_and_each_once() -> None:
    lengths = [random.Random(i).randint(5, 200) for i in range(230)]
    batches = length_grouped(lengths, 16, random.Random(1))
    assert sorted(i for batch in batches for i in batch) == list(range(230))
    padding = sum(max(lengths[i] for i in b) * len(b) for b in batches) / sum(lengths)
    assert padding < 1.15


def only(data: Path, **chances: float) -> Augmenter:
    """An augmenter that makes the named changes alone."""
    never = dict.fromkeys(AugmentRecipe.model_fields, 0.0)
    return Augmenter(AugmentRecipe(**never | chances), Disguiser.load(data))


def test_augmentation_keeps_the_letters_and_never_blanks(data: Path) -> None:
    text = "对面，着火了！！快来，三楼 502。"
    assert drop_punctuation(text, random.Random(1)).replace(" ", "") == "对面着火了快来三楼502"
    always = only(data, drop_punctuation=1, drop_digits=1)
    assert always("119", "hotline", random.Random(1)) == "119"
    assert only(data)(text, "letter", random.Random(1)) == text


def test_the_manners_of_letters_are_lent_to_letters_only(data: Path) -> None:
    text = "路灯不亮已有半年。下班的人摔了两个；报修没有回音。请修。"
    formal, joined = only(data, formal=1), only(data, run_on=1)
    assert formal(text, "group_chat", random.Random(1)) == text
    assert joined(text, "group_chat", random.Random(1)) == text
    framed = {formal(text, "letter", random.Random(seed)) for seed in range(20)}
    assert all(text in one for one in framed)
    assert len(framed) > 10
    changed = joined(text, "letter", random.Random(3))
    assert changed != text
    assert len(changed) == len(text)
    assert changed.endswith("请修。")


def test_a_bare_sms_keeps_its_links_and_its_characters(data: Path) -> None:
    text = "【某商城】满200减50，回T退订：http://a-b.example/x1，快来！"
    changed = only(data, bare=1)(text, "forwarded", random.Random(1))
    assert "http://a-b.example/x1" in changed
    assert not set("【】，：！") & set(changed)
    assert "某商城满" in changed
    assert "快来" in changed


def test_homophones_and_disguise_hide_words_in_every_register(data: Path) -> None:
    text = "客服说点击链接退款，要我报验证码。"
    heard = only(data, homophones=1)(text, "hotline", random.Random(1))
    assert heard != text
    assert lazy_pinyin(heard) == lazy_pinyin(text)
    hidden = {only(data, disguise=1)(text, "everyday", random.Random(seed)) for seed in range(40)}
    assert len(hidden) > 20


@pytest.mark.parametrize("text", ["base = 3", "[train]\nepochs = 0", "[train]\nepoch = 3", "not toml ="])
def test_a_bad_recipe_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError):
        load_recipe(tmp_path / "r.toml")


def test_committed_recipes_are_valid() -> None:
    folder = Path(__file__).parents[3] / "training" / "configs"
    # Beside the recipes lies the policy of the gate.
    configs = [path for path in folder.glob("*.toml") if path.name != "gate.toml"]
    assert configs
    assert all(load_recipe(path).base for path in configs)


def test_an_absent_base_says_what_to_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="triage base"):
        load_network(str(tmp_path / "none"), Heads.of(Taxonomy.load(data)), 0.1)
