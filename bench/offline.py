"""Messages per second without a server: transformers.pipeline against the engine, one run, same texts."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.utils import logging as transformers_logging

from triage import Triage

THREADS = 2
BATCH = 32


@dataclass(frozen=True, slots=True)
class Rate:
    """What one competitor did.

    Attributes:
        name: as in the table.
        per_second: messages per second, the best of the rounds.
        rounds: all of them.
    """

    name: str
    per_second: float
    rounds: tuple[float, ...]


def alternate(runs: dict[str, Callable[[], object]], count: int, rounds: int) -> list[Rate]:
    """Time each run in turn, round after round, so that a machine's mood meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found[name].append(count / (time.perf_counter() - start))
    return [Rate(name, max(rates), tuple(rates)) for name, rates in found.items()]


def transformers_pipeline(folder: Path) -> Callable[[Sequence[str]], object]:
    """``transformers.pipeline("text-classification", batch_size=32)`` in torch fp32 on the weights of a folder."""
    torch.set_num_threads(THREADS)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=12, ignore_mismatched_sizes=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def run(texts: Sequence[str]) -> object:
        return classify(list(texts), batch_size=BATCH, truncation=True, max_length=256)

    return run


def single_latency(engine: Triage, texts: Sequence[str]) -> float:
    """Median seconds of ``classify`` on one message at a time."""
    times = []
    for text in texts:
        start = time.perf_counter()
        engine.classify([text])
        times.append(time.perf_counter() - start)
    return statistics.median(times)
