"""Make confidence mean something, and choose when a message may be dispatched without an officer.

All of it on a split of its own, through the exported int8 graph that will serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import beta

from training.corpus import Message
from training.network import URGENCIES, Heads
from training.recipe import RouteRecipe
from triage import policy
from triage.engine import Triage, merged
from triage.model.artifact import Calibration, Routing
from triage.taxonomy import Taxonomy, Urgency

NEVER = 1.1


@dataclass(frozen=True, slots=True)
class Raw:
    """What the model says of messages before any calibration.

    Attributes:
        outputs: [messages, outputs] logits of the encoder.
        linear: [messages, labels] log-probabilities of the linear stage; nought where the release has none.
        label: [messages] index of the true primary label.
        secondary: [messages, report labels] 1 where the label needs handling, the primary included.
        urgency: [messages] index into routine, urgent, emergency.
        register: [messages] register ids.
    """

    outputs: NDArray[np.float32]
    linear: NDArray[np.float32]
    label: NDArray[np.int64]
    secondary: NDArray[np.float64]
    urgency: NDArray[np.int64]
    register: NDArray[np.str_]


def raw_outputs(engine: Triage, messages: Sequence[Message]) -> Raw:
    """Logits of messages through the exported graph, windows merged as in serving, beside the truth.

    Messages that hold nothing to read are left out: no model is asked about them.
    """
    prepared = engine.prepare([m.text for m in messages])
    messages = [message for message, item in zip(messages, prepared, strict=True) if item.windows]
    prepared = [item for item in prepared if item.windows]
    logits = iter(engine.infer([window for item in prepared for window in item.windows]))
    rows = [merged(item.windows, [next(logits) for _ in item.windows]) for item in prepared]
    ids, report_ids = engine.taxonomy.ids, engine.taxonomy.dispatch_ids
    silent = np.zeros(len(ids), np.float32)
    return Raw(
        np.stack(rows),
        np.stack([silent if item.linear is None else item.linear for item in prepared]),
        np.array([ids.index(m.label) for m in messages]),
        np.array([[float(key in (m.label, *m.secondary)) for key in report_ids] for m in messages]),
        np.array([list(URGENCIES).index(Urgency(m.urgency)) for m in messages]),
        np.array([m.register for m in messages]),
    )


def calibrate(raw: Raw, taxonomy: Taxonomy, label_bias: bool = False) -> Calibration:
    """Temperature and weight of the linear stage by likelihood; thresholds of secondary labels and urgency by F1.

    Args:
        raw: the calibration split.
        taxonomy: decides the outputs.
        label_bias: fit a bias for each label too.
    """
    heads = Heads.of(taxonomy)
    labels = raw.outputs[:, : heads.labels].astype(np.float64)

    def cost(parameters: NDArray[np.float64]) -> float:
        temperature, weight, bias = np.exp(parameters[0]), parameters[1], parameters[2:]
        scaled = (labels + weight * raw.linear) / temperature + (bias if label_bias else 0)
        scaled -= scaled.max(axis=1, keepdims=True)
        chosen = scaled[np.arange(len(labels)), raw.label]
        # A little pull towards no bias: few messages decide each label's; without biases it keeps them at nought.
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - chosen) + 0.01 * np.square(bias).sum())

    # Without a linear stage its weight changes nothing and stays at nought.
    bounds = [(None, None), (0.0, None)] + [(None, None)] * heads.labels
    best = minimize(cost, np.zeros(heads.labels + 2), method="L-BFGS-B", bounds=bounds).x
    busy = raw.secondary.sum(axis=1) > 0
    sigmoid = 1 / (1 + np.exp(-raw.outputs[busy, heads.labels : heads.labels + heads.secondary]))
    levels = policy.probabilities(raw.outputs[busy, heads.labels + heads.secondary :], Calibration())
    true_level = raw.urgency[busy]
    return Calibration(
        temperature=float(np.exp(best[0])),
        linear=round(float(best[1]), 4),
        bias=tuple(round(float(value), 4) for value in best[2:]),
        secondary=_secondary_thresholds(sigmoid, raw, busy, taxonomy),
        # A missed emergency costs lives, a false one an hour: recall counts double.
        emergency=_threshold(levels[:, 2], true_level == 2, recall_weight=2.0),
        urgent=_threshold(levels[:, 1] + levels[:, 2], true_level >= 1, recall_weight=1.0),
    )


def _secondary_thresholds(
    sigmoid: NDArray[np.float64], raw: Raw, busy: NDArray[np.bool_], taxonomy: Taxonomy
) -> dict[str, float]:
    found = {}
    for number, key in enumerate(taxonomy.dispatch_ids):
        # Only messages whose primary label is another say anything about the secondary one.
        rows = raw.label[busy] != taxonomy.ids.index(key)
        found[key] = _threshold(sigmoid[rows, number], raw.secondary[busy][rows, number] > 0, recall_weight=1.0)
    return found


def _threshold(scores: NDArray[np.float64], true: NDArray[np.bool_], recall_weight: float) -> float:
    """The score from which F_beta is best (beta = ``recall_weight``), kept within 0.15–0.85; 0.5 without examples."""
    if not true.any():
        return 0.5
    square = recall_weight**2
    candidates = np.linspace(0.15, 0.85, 71)

    def value(threshold: float) -> float:
        said = scores >= threshold
        hit = float((said & true).sum())
        return (1 + square) * hit / max(1e-9, square * float(true.sum()) + float(said.sum()))

    return round(float(max(candidates, key=value)), 4)


def upper_bound(errors: int, count: int, delta: float) -> float:
    """Clopper–Pearson upper bound of an error rate, exceeded with probability ``delta`` at the most."""
    return 1.0 if count == 0 or errors >= count else float(beta.ppf(1 - delta, errors + 1, count - errors))


def route_thresholds(raw: Raw, calibration: Calibration, taxonomy: Taxonomy, recipe: RouteRecipe) -> Routing:
    """The smallest confidence by label at which the error rate's upper bound stays under alpha in every register.

    A bound over all registers alone would let the hard ones pay for the easy ones: whoever sends us only letters would
    get more wrong dispatches than promised.

    Method: fixed-sequence testing from the surest messages down (Angelopoulos et al. 2021, *Learn then Test*,
    arXiv:2110.01052) on a grid of confidences; a threshold passes when it passes in each register and over all. A
    register counts from where enough of its messages stand that none wrong would pass (45 at alpha 0.05 and delta 0.1),
    which looks at confidences alone, never at errors; one that never has so many stands under the bound over all
    alone. The first threshold that fails ends it. A label whose start fails is never dispatched by the machine alone.
    """
    scores = policy.probabilities(raw.outputs[:, : len(taxonomy.ids)], calibration, raw.linear)
    said, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = raw.label != said
    auto = {}
    for number, key in enumerate(taxonomy.ids):
        rows = said == number
        auto[key] = _smallest_safe(confidence[rows], wrong[rows], raw.register[rows], recipe)
    floors = {label.id: label.floor for label in taxonomy.labels if label.floor is not None}
    return Routing(auto=auto, margin=recipe.margin, floors=floors, alpha=recipe.alpha, delta=recipe.delta)


def _smallest_safe(
    confidence: NDArray[np.float64], wrong: NDArray[np.bool_], register: NDArray[np.str_], recipe: RouteRecipe
) -> float:
    everyone = np.ones(len(wrong), dtype=np.bool_)
    parts = [everyone, *(register == name for name in np.unique(register))]
    found = NEVER
    for threshold in np.arange(0.99, 0.39, -0.01):
        taken = [part & (confidence >= threshold) for part in parts]
        counted = [rows for rows in taken if upper_bound(0, int(rows.sum()), recipe.delta) <= recipe.alpha]
        if not counted:
            continue
        bounds = [upper_bound(int(wrong[rows].sum()), int(rows.sum()), recipe.delta) for rows in counted]
        if max(bounds) > recipe.alpha:
            break
        found = round(float(threshold), 4)
    return found
