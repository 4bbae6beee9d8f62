"""Calibration and the route guarantee, on numbers whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training import calibrate
from training.recipe import RouteRecipe
from triage import policy
from triage.taxonomy import Taxonomy


def raw(scale: float, count: int = 4000, seed: int = 3) -> calibrate.Raw:
    """Messages whose true label is drawn from softmax(logits / scale): the right temperature is ``scale``."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 12)).astype(np.float32) * 3
    chances = np.exp(logits[:, :5] / scale)
    chances /= chances.sum(axis=1, keepdims=True)
    label = (chances.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    secondary = np.eye(5)[label][:, :4]
    urgency, register = random.integers(0, 3, count), np.full(count, "letter")
    return calibrate.Raw(logits, np.zeros((count, 5), np.float32), label, secondary, urgency, register)


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.5])
def test_finds_the_temperature_that_made_the_labels(data: Path, scale: float) -> None:
    found = calibrate.calibrate(raw(scale), Taxonomy.load(data))
    assert found.temperature == pytest.approx(scale, rel=0.08)


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.5])
def test_finds_the_weight_of_the_linear_stage(data: Path, weight: float) -> None:
    """Labels drawn from the weighted sum: the encoder holds the part that the linear stage does not."""
    whole = raw(1.0)
    linear = np.random.default_rng(5).normal(size=(4000, 5)).astype(np.float32) * 2
    outputs = whole.outputs.copy()
    outputs[:, :5] -= np.float32(weight) * linear
    found = calibrate.calibrate(replace(whole, outputs=outputs, linear=linear), Taxonomy.load(data))
    assert found.linear == pytest.approx(weight, abs=0.08)
    assert found.temperature == pytest.approx(1.0, rel=0.08)


def test_a_linear_stage_that_says_nothing_has_no_weight(data: Path) -> None:
    assert calibrate.calibrate(raw(1.0), Taxonomy.load(data)).linear == 0.0


def test_upper_bound_is_clopper_pearson() -> None:
    # No error in 100: 1 - 0.1 ** (1 / 100). The rule of three at another level.
    assert calibrate.upper_bound(0, 100, 0.1) == pytest.approx(1 - 0.1**0.01)
    assert calibrate.upper_bound(0, 0, 0.1) == 1.0
    assert calibrate.upper_bound(5, 5, 0.1) == 1.0
    assert calibrate.upper_bound(3, 100, 0.1) == pytest.approx(0.0656, abs=5e-4)


def test_route_thresholds_hold_on_fresh_messages(data: Path) -> None:
    taxonomy, recipe = Taxonomy.load(data), RouteRecipe(alpha=0.1, delta=0.1)
    seen, fresh = raw(1.0, seed=1), raw(1.0, seed=2)
    calibration = calibrate.calibrate(seen, taxonomy)
    routing = calibrate.route_thresholds(seen, calibration, taxonomy, recipe)
    scores = policy.probabilities(fresh.outputs[:, :5], calibration)
    said = scores.argmax(axis=1)
    auto = scores.max(axis=1) >= np.array([routing.auto[key] for key in taxonomy.ids])[said]
    assert auto.mean() > 0.3, "a bound that lets nothing through would be no use"
    assert (said != fresh.label)[auto].mean() <= 0.1


def test_the_hardest_register_decides(data: Path) -> None:
    """An eighth of the messages are mislabelled more often than alpha: over all, the bound would let them pass."""
    taxonomy, recipe = Taxonomy.load(data), RouteRecipe(alpha=0.1, delta=0.1)
    seen = raw(1.0, count=8000)
    calibration = calibrate.calibrate(seen, taxonomy)
    hard = np.arange(8000) % 8 == 0
    spoilt = np.where(hard & (np.random.default_rng(7).random(8000) < 0.25), (seen.label + 1) % 5, seen.label)
    unaware = replace(seen, label=spoilt)
    aware = replace(unaware, register=np.where(hard, "hotline", "letter"))
    over_all = calibrate.route_thresholds(unaware, calibration, taxonomy, recipe).auto
    by_register = calibrate.route_thresholds(aware, calibration, taxonomy, recipe).auto
    assert np.median(list(over_all.values())) < 0.9
    # From where the hard ones can be told apart on, nothing passes.
    assert min(by_register.values()) >= 0.97


def test_a_register_with_too_few_messages_to_tell_does_not_decide(data: Path) -> None:
    taxonomy, recipe = Taxonomy.load(data), RouteRecipe(alpha=0.1, delta=0.1)
    seen = raw(1.0)
    calibration = calibrate.calibrate(seen, taxonomy)
    few = replace(seen, register=np.where(np.arange(4000) < 15, "hotline", "letter"))
    by_register = calibrate.route_thresholds(few, calibration, taxonomy, recipe)
    assert by_register == calibrate.route_thresholds(seen, calibration, taxonomy, recipe)


def test_a_label_that_is_never_sure_is_never_dispatched(data: Path) -> None:
    random = np.random.default_rng(0)
    messages = raw(1.0)
    noise = replace(messages, label=random.integers(0, 5, 4000))
    taxonomy = Taxonomy.load(data)
    routing = calibrate.route_thresholds(noise, calibrate.calibrate(noise, taxonomy), taxonomy, RouteRecipe())
    assert set(routing.auto.values()) == {calibrate.NEVER}


def test_a_bias_is_fitted_only_where_asked(data: Path) -> None:
    seen = raw(1.0)
    seen.outputs[:, 4] -= 1.0
    assert not any(calibrate.calibrate(seen, Taxonomy.load(data)).bias)
    bias = calibrate.calibrate(seen, Taxonomy.load(data), label_bias=True).bias
    assert bias[4] - np.mean(bias[:4]) == pytest.approx(1.0, abs=0.25)
