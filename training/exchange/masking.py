"""Personal data is hidden on the way into a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from triage.text import privacy
from triage.text.entities import EntityFinder
from triage.text.normalize import Normalizer


@dataclass(slots=True)
class Masker:
    """Hides what leads to a person (138****1234), as ``triage.text.privacy`` does; names of persons are beyond it.

    Numbers that are invented by the corpus's rules stay. Hiding what is hidden changes nothing.

    Attributes:
        hidden: how many were hidden so far.
    """

    normalizer: Normalizer
    finder: EntityFinder
    hidden: int = 0

    @classmethod
    def load(cls, data: Path) -> Self:
        """From the lexicon of a data folder."""
        return cls(Normalizer.load(data / "lexicon"), EntityFinder.load(data / "lexicon"))

    def __call__(self, text: str) -> str:
        found = self.finder.find(self.normalizer(text))
        real = [entity for entity in privacy.personal(found) if not privacy.is_fictitious(entity)]
        self.hidden += len(real)
        return privacy.mask(text, real)
