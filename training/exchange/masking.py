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

    What would be invented by the own corpus's rules (``privacy.is_fictitious``) is hidden too: in foreign data 0000 is
    but a part of somebody's number. So the own corpus comes back unchanged only without a masker
    (``--keep-personal-data``). Hiding what is hidden changes nothing.

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
        personal = privacy.personal(self.finder.find(self.normalizer(text)))
        self.hidden += len(personal)
        return privacy.mask(text, personal)
