"""A training recipe: what is committed under ``training/configs`` and travels into the release's manifest."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triage.errors import TrainingError

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentRecipe(_Part):
    """Chance in [0, 1] that a training message is changed in each way, drawn anew every epoch.

    ``homophones`` is one family of ``training.disguise``; ``disguise`` draws one of all twelve.
    """

    drop_punctuation: Share = 0.15
    drop_digits: Share = 0.10
    cut_tail: Share = 0.10
    mask_places: Share = 0.10
    lose_characters: Share = 0.0
    run_on: Share = 0.0
    formal: Share = 0.0
    bare: Share = 0.0
    homophones: Share = 0.0
    disguise: Share = 0.0


class TrainRecipe(_Part):
    """Fine-tuning.

    Attributes:
        epochs: passes over the training split.
        cycles: so many times the rate rises and falls over them; each cycle starts from the weights that the one before
            has averaged (Loshchilov & Hutter 2017, arXiv:1608.03983).
        batch_size: messages in one step.
        learning_rate: of the top encoder layer (AdamW).
        head_learning_rate: of the last linear layer.
        layer_decay: each layer below learns at this multiple of the one above (Howard & Ruder 2018, arXiv:1801.06146).
        warmup: share of a cycle's steps over which the rate rises; it falls linearly to 0 after.
        weight_decay: AdamW's, on matrices only.
        dropout: in the encoder and before the last layer.
        attention_dropout: of attention probabilities. Drawing its masks on a processor takes a fifth of a step.
        label_smoothing: of the primary label's cross-entropy.
        secondary_weight: weight of the secondary labels' loss.
        urgency_weight: weight of the urgency loss.
        probe: start the last layer from logistic regressions on the frozen encoder's mean vector
            (Kumar et al. 2022, arXiv:2202.10054).
        freeze_embeddings: leave the word, position and type embeddings as they are: a fifth faster, and words that the
            corpus lacks keep their place beside those that it has.
        average: from this share of a cycle's steps on, the weights are averaged and the average is kept
            (Izmailov et al. 2018, arXiv:1803.05407); 1 for none.
        bfloat16: matrix products in bfloat16, weights in float32, where the processor has such products (AVX512-BF16,
            AMX): 1.6 times as fast; elsewhere float32 all through.
        checkpoint_every: steps between checkpoints.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    cycles: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    head_learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.85
    warmup: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    dropout: Share = 0.1
    attention_dropout: Share = 0.0
    label_smoothing: Share = 0.05
    secondary_weight: Annotated[float, Field(ge=0)] = 0.5
    urgency_weight: Annotated[float, Field(ge=0)] = 0.3
    probe: bool = True
    freeze_embeddings: bool = True
    average: Share = 0.6
    bfloat16: bool = False
    checkpoint_every: Annotated[int, Field(ge=1)] = 50


class RouteRecipe(_Part):
    """What the calibration split must show before a message is dispatched without an officer.

    Attributes:
        alpha: largest error rate among auto-routed messages.
        delta: chance that the true rate exceeds it all the same.
        margin: smallest distance of the two best scores.
    """

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.03
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1
    margin: Share = 0.1


class Recipe(_Part):
    """One training, whole.

    Attributes:
        base: Hugging Face folder or hub id of the encoder.
        seed: of every random choice.
        max_tokens: longest window, at most what the encoder's positions hold.
        overlap: tokens that neighbouring windows share.
        label_bias: calibrate by a bias for each label beside the temperature; right only where labels are as frequent
            in the calibration split as in the live mail, since it moves the label itself.
        linear: inverse L2 penalty of the linear stage that is read beside the encoder; 0 for no such stage.
    """

    base: str = "models/base"
    seed: int = 1
    max_tokens: Annotated[int, Field(ge=8)] = 256
    overlap: Annotated[int, Field(ge=0)] = 64
    label_bias: bool = False
    linear: Annotated[float, Field(ge=0)] = 10.0
    train: TrainRecipe = TrainRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    route: RouteRecipe = RouteRecipe()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        TrainingError: the file is missing, is not TOML, has an unknown key or a value out of range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise TrainingError(f"训练配置 {path} 无效：{error}", f"bad recipe {path}: {error}") from error
