"""The linear stage: hashed character n-grams and one matrix, read beside the encoder for a hundredth of its price.

The encoder knows words that the corpus never held; the n-grams hold fast the wordings that decide. Their errors differ,
and the sum of both is right more often than either.

A text becomes the 1- to 3-grams of its characters, hashed into a fixed number of buckets (Weinberger et al. 2009,
arXiv:0902.2206), so that a release carries no vocabulary; counts are logarithmic, weighted by rarity, and scaled to
length 1, as in TF-IDF.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triage.errors import ReleaseCorrupt

ORDERS = 3
BITS = 18

_PRIME = np.uint32(0x01000193)
_MIX = (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))

Floats = NDArray[np.float32]


def ngrams(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Buckets of a text's n-grams: (bucket numbers in [0, 2**BITS), rising, each once; 1 + ln(count) of each).

    Linear in the length of the text, the same on every machine.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
    rolling = np.zeros(len(codes), dtype=np.uint32)
    found = []
    for order in range(1, min(ORDERS, len(codes)) + 1):
        rolling = rolling[: len(codes) - order + 1] * _PRIME + codes[order - 1 :] + np.uint32(order)
        mixed = rolling.copy()
        for shift, factor in zip((16, 13), _MIX, strict=True):
            mixed ^= mixed >> np.uint32(shift)
            mixed *= factor
        mixed ^= mixed >> np.uint32(16)
        found.append(mixed >> np.uint32(32 - BITS))
    buckets, counts = np.unique(np.concatenate(found) if found else np.zeros(0, np.uint32), return_counts=True)
    return buckets.astype(np.int64), (1 + np.log(counts)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial logistic regression over n-grams.

    Attributes:
        rarity: [2**BITS] weight of each bucket, 0 for those never seen in training.
        weights: [2**BITS, labels].
        bias: [labels].
    """

    rarity: NDArray[np.float16]
    weights: NDArray[np.float16]
    bias: Floats

    @classmethod
    def load(cls, path: Path, labels: int) -> Linear:
        """Read ``linear.npz``.

        Args:
            path: the file.
            labels: how many the taxonomy has.

        Raises:
            ReleaseCorrupt: the file is not what ``save`` writes, or is made for another number of labels.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                made = cls(data["rarity"], data["weights"], data["bias"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ReleaseCorrupt(f"线性模型 {path.name} 无法读取", f"cannot read {path.name}") from error
        wanted = (("rarity", (1 << BITS,), np.float16), ("weights", (1 << BITS, labels), np.float16))
        for name, shape, kind in (*wanted, ("bias", (labels,), np.float32)):
            array = getattr(made, name)
            if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
                raise ReleaseCorrupt(
                    f"线性模型 {path.name} 的 {name} 不符：{array.dtype}{list(array.shape)}",
                    f"{name} of {path.name} is {array.dtype}{list(array.shape)}, not {list(shape)}",
                )
        return made

    def save(self, path: Path) -> None:
        """Write ``linear.npz``, compressed."""
        np.savez_compressed(path, rarity=self.rarity, weights=self.weights, bias=self.bias)

    def __call__(self, text: str) -> Floats:
        """Natural logarithms of the labels' probabilities: [labels]; of a text of unknown n-grams, the bias alone."""
        buckets, counts = ngrams(text)
        values = counts * self.rarity[buckets]
        norm = float(np.sqrt(np.square(values).sum()))
        scores = self.bias + (values @ self.weights[buckets].astype(np.float32)) / max(norm, 1e-9)
        scores -= scores.max()
        result: Floats = (scores - np.log(np.exp(scores).sum())).astype(np.float32)
        return result
