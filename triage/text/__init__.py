"""Text: normalised with a map back to the raw offsets, cut into words, read for entities, masked."""

from triage.text.entities import EntityFinder
from triage.text.normalize import Normalized, Normalizer
from triage.text.privacy import is_fictitious, mask, personal
from triage.text.segment import Segmenter

__all__ = [
    "EntityFinder",
    "Normalized",
    "Normalizer",
    "Segmenter",
    "is_fictitious",
    "mask",
    "personal",
]
