"""Fine-tune the encoder on the corpus: probe first, then all layers with a rate that falls towards the bottom."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from transformers import PreTrainedModel

from training.augment import Augmenter
from training.corpus import Message
from training.network import URGENCIES, Heads, load_network, message_logits, padded
from training.recipe import Recipe, TrainRecipe
from triage.model.encoder import plan_batches
from triage.model.encoding import Encoding
from triage.taxonomy import Taxonomy
from triage.text.normalize import Normalizer

CHECKPOINT = "checkpoint.pt"
_PROBE_BUDGET = 2048
# Messages that the probe is fitted on: more move it little, and each costs a pass through the network.
_PROBE_MESSAGES = 3000


@dataclass(frozen=True, slots=True)
class Targets:
    """What is to be learnt, one row a message.

    Attributes:
        label: [messages] index of the primary label.
        secondary: [messages, report labels] 1 where the label needs handling, the primary included.
        urgency: [messages] index into ``URGENCIES``.
        busy: [messages] 1 for messages that somebody acts on; the others teach no secondary label and no urgency.
    """

    label: Tensor
    secondary: Tensor
    urgency: Tensor
    busy: Tensor

    @classmethod
    def of(cls, messages: Sequence[Message], taxonomy: Taxonomy) -> Targets:
        ids, report_ids = taxonomy.ids, taxonomy.dispatch_ids
        named = [{m.label, *m.secondary} for m in messages]
        return cls(
            label=torch.tensor([ids.index(m.label) for m in messages]),
            secondary=torch.tensor([[float(key in names) for key in report_ids] for names in named]),
            urgency=torch.tensor([[u.value for u in URGENCIES].index(m.urgency) for m in messages]),
            busy=torch.tensor([float(m.label in report_ids) for m in messages]),
        )

    def take(self, rows: Sequence[int]) -> Targets:
        index = torch.tensor(list(rows))
        return Targets(self.label[index], self.secondary[index], self.urgency[index], self.busy[index])


class Reader:
    """Texts to the ids that serving would make of them: the first window of each.

    Args:
        normalizer: the lexicon's.
        encoding: the base's tokenizer.
        pad: id for padding.
    """

    def __init__(self, normalizer: Normalizer, encoding: Encoding, pad: int) -> None:
        self.normalizer, self.encoding, self.pad = normalizer, encoding, pad

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        windows = self.encoding.windows([self.normalizer(text) for text in texts])
        return [found[0].ids for found in windows]


def loss(logits: Tensor, targets: Targets, heads: Heads, recipe: TrainRecipe) -> Tensor:
    """Weighted sum of the three tasks' losses; secondary and urgency count only for messages that are acted on."""
    label, secondary, urgency = heads.split(logits)
    primary = functional.cross_entropy(label, targets.label, label_smoothing=recipe.label_smoothing)
    busy = targets.busy / targets.busy.sum().clamp(min=1)
    several = functional.binary_cross_entropy_with_logits(secondary, targets.secondary, reduction="none").mean(dim=1)
    soon = functional.cross_entropy(urgency, targets.urgency, reduction="none")
    return primary + (busy * (recipe.secondary_weight * several + recipe.urgency_weight * soon)).sum()


@torch.no_grad()
def vectors(model: PreTrainedModel, ids: Sequence[Sequence[int]], pad: int) -> NDArray[np.float32]:
    """Mean token vector of the encoder for each message: [messages, hidden]."""
    model.train(False)
    out = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
    for batch in plan_batches([len(row) for row in ids], _PROBE_BUDGET):
        inputs, mask = padded([ids[i] for i in batch], pad)
        hidden = model.base_model(input_ids=inputs, attention_mask=mask).last_hidden_state
        out[batch] = message_logits(hidden, mask).numpy()
    return out


def probe(model: PreTrainedModel, features: NDArray[np.float32], targets: Targets, heads: Heads) -> None:
    """Set the last layer from logistic regressions on frozen features, scaled back to the encoder's own space."""
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - centre) / scale
    busy = targets.busy.numpy() > 0
    columns = [(scaled, targets.label.numpy(), range(heads.labels))]
    columns.append((scaled[busy], targets.urgency.numpy()[busy], range(heads.labels + heads.secondary, heads.outputs)))
    last = model.get_submodule("classifier")
    assert isinstance(last, nn.Linear)
    weight, bias = last.weight.data.zero_(), last.bias.data.zero_()

    def put(row: int, coefficients: NDArray[np.float64], intercept: float) -> None:
        weight[row] = torch.from_numpy((coefficients / scale).astype(np.float32))
        bias[row] = float(intercept - (coefficients * centre / scale).sum())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for inputs, wanted, rows in columns:
            found = LogisticRegression(C=0.02, max_iter=400).fit(inputs, wanted)
            for number, row in enumerate(rows):
                if number in found.classes_ and len(found.classes_) > 2:
                    at = list(found.classes_).index(number)
                    put(row, found.coef_[at], found.intercept_[at])
        for number in range(heads.secondary):
            wanted = targets.secondary.numpy()[busy][:, number]
            if 0 < wanted.sum() < len(wanted):
                found = LogisticRegression(C=0.02, max_iter=400).fit(scaled[busy], wanted)
                put(heads.labels + number, found.coef_[0], found.intercept_[0])


def parameter_groups(model: PreTrainedModel, recipe: TrainRecipe) -> list[dict[str, object]]:
    """AdamW groups: the head at its own rate, layers at a rate that decays downwards, no decay on vectors."""
    layers = model.config.num_hidden_layers
    groups = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("classifier"):
            rate = recipe.head_learning_rate
        else:
            found = name.split("layer.")[1].split(".")[0] if ".layer." in name else None
            depth = layers - 1 - int(found) if found is not None else layers
            rate = recipe.learning_rate * recipe.layer_decay**depth
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
    return groups


def rate_share(at: int, steps: int, cycle: int, warmup: float) -> float:
    """Share of the learning rate at a step: up over the warm-up, then down to 0, once a cycle.

    Args:
        at: steps done.
        steps: of the whole training; none follows, and the share is 0.
        cycle: steps of a cycle.
        warmup: part of a cycle, in [0, 1].
    """
    if at >= steps:
        return 0.0
    within, warm = at % cycle, max(1, round(cycle * warmup))
    return min((within + 1) / warm, max(0.0, (cycle - within) / max(1, cycle - warm)))


def length_grouped(lengths: Sequence[int], batch_size: int, shuffle: random.Random) -> list[list[int]]:
    """Batches of messages of like length in random order; neighbours are sorted within stretches of 50 batches."""
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    stretch = 50 * batch_size
    batches = []
    for start in range(0, len(order), stretch):
        part = sorted(order[start : start + stretch], key=lambda i: lengths[i])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    shuffle.shuffle(batches)
    return batches


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated, one step takes twenty times as long as in float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@dataclass(slots=True)
class Progress:
    """Where a training is; handed to the caller after every step."""

    step: int
    steps: int
    loss: float


def finetune(
    messages: Sequence[Message],
    taxonomy: Taxonomy,
    reader: Reader,
    augmenter: Augmenter,
    recipe: Recipe,
    work: Path,
    progress: Callable[[Progress], None] = lambda at: None,
) -> PreTrainedModel:
    """Train; resume from ``<work>/checkpoint.pt`` when it is there, also when it is that of the last step.

    Args:
        messages: the training split.
        taxonomy: decides the outputs.
        reader: texts to ids.
        augmenter: changes the texts of each step.
        recipe: every knob.
        work: folder for checkpoints.
        progress: called after every step.

    Returns:
        The model in evaluation mode, with averaged weights where the recipe asks for them.
    """
    torch.manual_seed(recipe.seed)
    heads, targets = Heads.of(taxonomy), Targets.of(messages, taxonomy)
    model = load_network(recipe.base, heads, recipe.train.dropout, recipe.train.attention_dropout)
    model.base_model.embeddings.requires_grad_(not recipe.train.freeze_embeddings)
    ids = reader.ids([m.text for m in messages])
    per_epoch = -(-len(messages) // recipe.train.batch_size)
    key = hashlib.sha256(repr((recipe.model_dump(), [m.id for m in messages])).encode()).hexdigest()
    run = _Run(model, recipe.train, per_epoch * recipe.train.epochs, work, key)
    if not run.resume() and recipe.train.probe:
        chosen = random.Random(recipe.seed).sample(range(len(ids)), min(_PROBE_MESSAGES, len(ids)))
        features = vectors(model, [ids[row] for row in chosen], reader.pad)
        probe(model, features, targets.take(chosen), heads)
        run.averaged = AveragedModel(model)
    bfloat16 = recipe.train.bfloat16 and has_bfloat16()
    for rows in _schedule(messages, ids, recipe, run.step):
        texts = _augmented(messages, rows, augmenter, f"{recipe.seed}:{run.step}")
        inputs, mask = padded(reader.ids(texts), reader.pad)
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            tokens = model(input_ids=inputs, attention_mask=mask).logits
        logits = message_logits(tokens.float(), mask)
        value = run.update(loss(logits, targets.take(rows), heads, recipe.train))
        progress(Progress(run.step, run.steps, value))
    return run.finish()


def _schedule(
    messages: Sequence[Message], ids: Sequence[Sequence[int]], recipe: Recipe, done: int
) -> Iterator[list[int]]:
    """The batches still to do; the order depends on the seed alone, so that a resumed training sees the same."""
    step = 0
    for epoch in range(recipe.train.epochs):
        shuffle = random.Random(f"{recipe.seed}:{epoch}")
        for rows in length_grouped([len(row) for row in ids], recipe.train.batch_size, shuffle):
            if step >= done:
                yield rows
            step += 1


def _augmented(messages: Sequence[Message], rows: Sequence[int], augmenter: Augmenter, seed: str) -> list[str]:
    chance = random.Random(f"{seed}:augment")
    return [augmenter(messages[row].text, messages[row].register, chance) for row in rows]


class _Run:
    """Optimizer, schedule, averaging and checkpoints of one training."""

    def __init__(self, model: PreTrainedModel, recipe: TrainRecipe, steps: int, work: Path, key: str) -> None:
        self.model, self.recipe, self.steps, self.work, self.key = model, recipe, steps, work, key
        self.step = 0
        self.optimizer = AdamW(parameter_groups(model, recipe), fused=True)
        self.cycle = -(-steps // recipe.cycles)
        self.schedule = LambdaLR(self.optimizer, lambda at: rate_share(at, steps, self.cycle, recipe.warmup))
        self.averaged = AveragedModel(model)

    def update(self, value: Tensor) -> float:
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        within = (self.step - 1) % self.cycle + 1
        if within >= self.cycle * self.recipe.average:
            self.averaged.update_parameters(self.model)
        if within == self.cycle and self.step < self.steps:
            self.settle()
            self.averaged = AveragedModel(self.model)
        if self.step % self.recipe.checkpoint_every == 0 or self.step == self.steps:
            self._save()
        return float(value.detach())

    def _save(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        draft = self.work / (CHECKPOINT + ".draft")
        state = {
            "step": self.step,
            "key": self.key,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "random": torch.get_rng_state(),
        }
        torch.save(state, draft)
        draft.replace(self.work / CHECKPOINT)

    def resume(self) -> bool:
        """Go on from the checkpoint of a killed training of the same recipe and messages; False where there is none."""
        file = self.work / CHECKPOINT
        if not file.is_file():
            return False
        state = torch.load(file, weights_only=True)
        if state["key"] != self.key:
            return False
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        torch.set_rng_state(state["random"])
        return True

    def settle(self) -> None:
        """Take the averaged weights for the model's own, where there are any."""
        if int(self.averaged.n_averaged) > 0:
            self.model.load_state_dict(self.averaged.module.state_dict())

    def finish(self) -> PreTrainedModel:
        self.settle()
        self.model.train(False)
        return self.model
