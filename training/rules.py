"""Rules of a gate: which figures a candidate must show, and on which files. ``training.gate`` measures them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from triage.errors import TrainingError

SPEED: Final = "speed_ratio"
# Figures of a labelled file: True where more is better.
OF_FILES: Final[Mapping[str, bool]] = {
    "accuracy": True,
    "macro_f1": True,
    "auto_share": True,
    "fraud_found_or_reviewed": True,
    "urgency_accuracy": True,
    "emergency_recall": True,
    "emergency_precision": True,
    "secondary_f1": True,
    "calibration_error": False,
    "auto_error": False,
    "fraud_false_alarm": False,
}
# Figures of the release itself.
OF_RELEASE: Final[Mapping[str, bool]] = {
    SPEED: True,
    "size_mib": False,
    "golden_labels": False,
    "golden_max_difference": False,
    "golden_mean_difference": False,
}
_BY_LABEL = re.compile(r"(?:recall|f1)\.[a-z][a-z0-9_]*")


class Rule(BaseModel):
    """One line of a policy.

    Attributes:
        figure: one of ``OF_FILES`` or ``OF_RELEASE``, or ``recall.<label>`` or ``f1.<label>``.
        at_least, at_most: bounds for the candidate alone.
        worse_by: how far it may fall behind the release that serves, in the figure's own unit.
        files: stems of the labelled files that it is for; empty for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    worse_by: Annotated[float | None, Field(ge=0)] = None
    files: tuple[str, ...] = ()

    @property
    def rising(self) -> bool:
        """Whether more is better."""
        return {**OF_FILES, **OF_RELEASE}.get(self.figure, True)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.figure not in OF_FILES and self.figure not in OF_RELEASE and not _BY_LABEL.fullmatch(self.figure):
            known = ", ".join([*OF_FILES, *OF_RELEASE, "recall.<label>", "f1.<label>"])
            raise ValueError(f"unknown figure {self.figure}; known: {known}")
        wrong = self.at_most if self.rising else self.at_least
        if wrong is not None or (self.at_least is None and self.at_most is None and self.worse_by is None):
            raise ValueError(f"{self.figure} needs {'at_least' if self.rising else 'at_most'} or worse_by")
        if self.figure == SPEED and self.worse_by is not None:
            raise ValueError(f"{SPEED} is a ratio already: at_least alone")
        return self


class Policy(BaseModel):
    """All rules of a gate; at least one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Annotated[tuple[Rule, ...], Field(min_length=1)]


def load_policy(path: Path) -> Policy:
    """Read a policy.

    Raises:
        TrainingError: the file is missing, is not TOML, or a rule is unknown or has no bound.
    """
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise TrainingError(f"门槛文件 {path} 无效：{error}", f"bad policy {path}: {error}") from error


def files_of(policy: Policy, folder: Path) -> list[Path]:
    """The labelled files of a folder that a policy names, the test split with them.

    One that is not there is left out: its rules are not kept then, unless another of their files answers them.
    """
    stems = dict.fromkeys([*(stem for rule in policy.rule for stem in rule.files), "test"])
    paths = {stem: folder / f"{stem}.jsonl" for stem in stems}
    return [path for stem, path in paths.items() if path.is_file() or stem == "test"]
