"""The engine: raw texts in, decisions out. Three stages, each timed on its own: prepare, infer, interpret."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from triage import explain, policy
from triage.decision import Decision, Entity, Evidence
from triage.model.artifact import LEXICON, LINEAR, Calibration, Manifest, Release
from triage.model.encoder import TOKEN_BUDGET, Encoder, Logits, plan_batches
from triage.model.encoding import Encoding, Window, canonical
from triage.model.linear import Linear
from triage.taxonomy import FILE as TAXONOMY_FILE
from triage.taxonomy import Taxonomy
from triage.text.entities import EntityFinder
from triage.text.normalize import Normalized, Normalizer
from triage.text.segment import Segmenter

# A text whose known tokens or Chinese characters are fewer than this share, or whose kana are more, is unlike anything
# that was learnt.
MIN_KNOWN = 0.6
MIN_HAN = 0.25
MAX_KANA = 0.15
DEFAULT_WORKERS = 2
# Score from which a window's label is believed, where the release asks for more before it is dispatched.
SURE = 0.9
# Messages that ``classify`` prepares at a time.
STRETCH = 128


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message made ready for the model.

    Attributes:
        message: normalized text with its map back.
        windows: what the model reads; empty when the message holds nothing to read (``blank`` says why).
        blank: a reason such as ``media_only`` for which no model is asked, or an empty string.
        truncated: True when windows beyond the release's limit were left out.
        linear: [labels] log-probabilities by the linear stage, which reads the whole message at once; None where the
            release has none.
    """

    message: Normalized
    windows: tuple[Window, ...]
    blank: str
    truncated: bool
    linear: NDArray[np.float32] | None = None

    @property
    def tokens(self) -> int:
        """Tokens to read, over all windows."""
        return sum(len(window.ids) for window in self.windows)


class Classifier(Protocol):
    """What the API and the commands need of an engine; ``triage.testing`` has a double."""

    version: str
    taxonomy: Taxonomy
    manifest: Manifest

    def prepare(self, texts: Sequence[str]) -> list[Prepared]: ...
    def infer(self, windows: Sequence[Window]) -> list[Logits]: ...
    def interpret(self, prepared: Prepared, logits: Sequence[Logits]) -> Decision: ...
    def classify(self, texts: Sequence[str]) -> list[Decision]: ...


class Triage:
    """A loaded release.

    Use ``Triage.load``; the constructor takes the parts, for tests.
    """

    def __init__(
        self,
        manifest: Manifest,
        taxonomy: Taxonomy,
        normalizer: Normalizer,
        segmenter: Segmenter,
        entities: EntityFinder,
        encoding: Encoding,
        encoder: Encoder,
        rules: Sequence[policy.UrgencyRule],
        linear: Linear | None = None,
        workers: int = DEFAULT_WORKERS,
    ) -> None:
        self.version = manifest.version
        self.manifest = manifest
        self.taxonomy = taxonomy
        self._normalizer = normalizer
        self._segmenter = segmenter
        self._entities = entities
        self._encoding = encoding
        self._encoder = encoder
        self._rules = tuple(rules)
        self._linear = linear
        self._pool = ThreadPoolExecutor(workers, "encoder") if workers > 1 else None

    @classmethod
    def load(cls, folder: Path | str, workers: int = DEFAULT_WORKERS, threads: int = 1) -> Triage:
        """Load a release from a folder; never from the network.

        Args:
            folder: a release folder, or ``models/current``.
            workers: batches that ``classify`` runs at once.
            threads: threads of each batch.

        Raises:
            ReleaseNotFound: there is no such folder.
            ReleaseCorrupt: a file is missing, strange or its checksum differs.
        """
        release = Release.open(folder)
        manifest = release.manifest
        lexicon = release.folder / LEXICON
        segmenter = Segmenter.load(lexicon)
        with ThreadPoolExecutor(1) as side:
            warmed = side.submit(segmenter.warm)
            taxonomy = Taxonomy.load(release.path(TAXONOMY_FILE))
            engine = cls(
                manifest=manifest,
                taxonomy=taxonomy,
                normalizer=Normalizer.load(lexicon),
                segmenter=segmenter,
                entities=EntityFinder.load(lexicon),
                encoding=Encoding.load(release.path("tokenizer.json"), manifest.max_tokens, manifest.overlap),
                encoder=Encoder(release.path("model.onnx"), threads),
                rules=policy.load_urgency_rules(lexicon),
                linear=Linear.load(release.path(LINEAR), len(taxonomy.ids)) if manifest.stage == "ensemble" else None,
                workers=workers,
            )
            warmed.result()
        return engine

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """Decide on each text, in order. Writes nothing, logs nothing.

        Args:
            texts: raw messages; a blank one gives a ``review`` decision with its reason.
        """
        decisions: list[Decision] = []
        waiting: list[tuple[list[Prepared], Callable[[], list[Logits]]]] = []
        # One stretch is prepared and the one before interpreted while the encoder reads: Python keeps the processor
        # busy where batches would wait for it.
        for start in range(0, len(texts), STRETCH):
            prepared = self.prepare(texts[start : start + STRETCH])
            waiting.append((prepared, self._begin([window for item in prepared for window in item.windows])))
            if len(waiting) > 1:
                decisions += self._decided(*waiting.pop(0))
        return decisions + [decision for rest in waiting for decision in self._decided(*rest)]

    def _decided(self, prepared: Sequence[Prepared], wait: Callable[[], list[Logits]]) -> list[Decision]:
        logits = iter(wait())
        return [self.interpret(item, [next(logits) for _ in item.windows]) for item in prepared]

    def prepare(self, texts: Sequence[str]) -> list[Prepared]:
        """Normalize and encode; ask the linear stage."""
        messages = [self._normalizer(text) for text in texts]
        pairs = zip(messages, self._encoding.windows(messages), strict=True)
        return [self._prepared(message, windows) for message, windows in pairs]

    def _prepared(self, message: Normalized, windows: Sequence[Window]) -> Prepared:
        limit = self.manifest.max_windows
        if blank := _blank(message):
            return Prepared(message, (), blank, len(windows) > limit)
        linear = self._linear(canonical(message.text).text) if self._linear else None
        return Prepared(message, tuple(windows[:limit]), blank, len(windows) > limit, linear)

    def infer(self, windows: Sequence[Window], budget: int = TOKEN_BUDGET) -> list[Logits]:
        """Run the encoder over windows in length-sorted batches; results in the order given."""
        return self._begin(windows, budget)()

    def _begin(self, windows: Sequence[Window], budget: int = TOKEN_BUDGET) -> Callable[[], list[Logits]]:
        """Start the batches; what is returned waits for their results."""
        batches = plan_batches([len(window.ids) for window in windows], budget)
        found: list[Logits | None] = [None] * len(windows)

        def work(batch: list[int]) -> None:
            for index, logits in zip(batch, self._encoder.run([windows[i].ids for i in batch]), strict=True):
                found[index] = logits

        # Starts at once where there are threads, else when it is asked for.
        running = self._pool.map(work, batches) if self._pool and len(batches) > 1 else map(work, batches)

        def wait() -> list[Logits]:
            list(running)
            return [logits for logits in found if logits is not None]

        return wait

    def interpret(self, prepared: Prepared, logits: Sequence[Logits]) -> Decision:
        """Turn what the encoder said of a message's windows into a decision."""
        entities = self._entities.find(prepared.message)
        if prepared.blank:
            return self._undecided(prepared, entities)
        outputs = merged(prepared.windows, logits)
        ids, report_ids = self.taxonomy.ids, self.taxonomy.dispatch_ids
        calibration = self.manifest.calibration
        found = policy.probabilities(outputs[: len(ids)], calibration, prepared.linear)
        scores = dict(zip(ids, found.tolist(), strict=True))
        label = max(ids, key=lambda key: scores[key])
        given, reasons = policy.route(scores, self.taxonomy, self.manifest.routing)
        reasons = (*reasons, *self._doubts(prepared, logits, label))
        sigmoid = 1 / (1 + np.exp(-outputs[len(ids) : len(ids) + len(report_ids)]))
        levels = policy.probabilities(outputs[len(ids) + len(report_ids) :], Calibration())
        urgency, urgency_reasons = policy.urgency(
            levels, label, prepared.message.text, self.taxonomy, calibration, self._rules
        )
        return Decision(
            label=label,
            confidence=scores[label],
            scores=scores,
            secondary=policy.secondary(
                dict(zip(report_ids, sigmoid.tolist(), strict=True)), label, self.taxonomy, calibration
            ),
            route="review" if reasons else given,
            reasons=reasons,
            urgency=urgency,
            urgency_reasons=urgency_reasons,
            unit=self.taxonomy[label].unit,
            entities=entities,
            evidence=self._evidence(prepared, logits, ids.index(label)),
            truncated=prepared.truncated,
            read=(prepared.windows[0].read[0], max(window.read[1] for window in prepared.windows)),
            model=self.version,
            stage=self.manifest.stage,
        )

    def _undecided(self, prepared: Prepared, entities: tuple[Entity, ...]) -> Decision:
        even = 1 / len(self.taxonomy.ids)
        label = next((item for item in self.taxonomy.labels if not item.dispatch), self.taxonomy.labels[-1])
        return Decision(
            label=label.id,
            confidence=even,
            scores=dict.fromkeys(self.taxonomy.ids, even),
            reasons=(prepared.blank,),
            unit=label.unit,
            entities=entities,
            read=(0, len(prepared.message.raw)),
            model=self.version,
            stage="rule",
        )

    def _doubts(self, prepared: Prepared, logits: Sequence[Logits], label: str) -> tuple[str, ...]:
        doubts = []
        if _foreign(prepared.message.text) or self._unknown(prepared.windows) > 1 - MIN_KNOWN:
            doubts.append("out_of_scope")
        if prepared.truncated:
            doubts.append("truncated")
        ids = self.taxonomy.ids
        for window in logits[:0] if len(logits) == 1 else logits:
            scores = policy.probabilities(window.outputs[: len(ids)], self.manifest.calibration)
            best = int(scores.argmax())
            # A label that is never dispatched by the machine alone may still speak against another that is.
            threshold = min(self.manifest.routing.auto.get(ids[best], SURE), SURE)
            if ids[best] != label and self.taxonomy.labels[best].dispatch and scores[best] >= threshold:
                doubts.append("windows_disagree")
                break
        return tuple(doubts)

    def _unknown(self, windows: Sequence[Window]) -> float:
        ids = [token for window in windows for token in window.ids[1:-1]]
        return sum(token == self._encoding.unknown for token in ids) / max(1, len(ids))

    def _evidence(self, prepared: Prepared, logits: Sequence[Logits], label: int) -> tuple[Evidence, ...]:
        spans: list[tuple[int, int]] = []
        weights: list[float] = []
        seen = 0
        for window, said in zip(prepared.windows, logits, strict=True):
            # Neighbouring windows share tokens: each stretch of text counts once.
            for span, weight in zip(window.spans, explain.support(said.tokens, label).tolist(), strict=True):
                if span[1] > seen:
                    spans.append(span)
                    weights.append(weight)
            seen = max(seen, window.read[1])
        words = self._segmenter.words(prepared.message.text)
        return explain.evidence(prepared.message, words, spans, weights)


def merged(windows: Sequence[Window], logits: Sequence[Logits]) -> NDArray[np.float32]:
    """Logits of a message: the mean of its windows', weighted by tokens, as one long window would give."""
    weights = [len(window.ids) for window in windows]
    mean: NDArray[np.float32] = np.average([item.outputs for item in logits], axis=0, weights=weights)
    return mean


def _blank(message: Normalized) -> str:
    """Why a message holds nothing to read, or an empty string."""
    if not message.text:
        return "empty"
    return "" if any(c.isalnum() for c in _without_media(message.text)) else "media_only"


_MEDIA = ("[图片]", "[视频]", "[语音]", "[表情]", "[动画表情]", "[位置]", "[文件]", "[链接]", "[红包]", "[转账]")


def _without_media(text: str) -> str:
    for sign in _MEDIA:
        text = text.replace(sign, "")
    return text


def _foreign(text: str) -> bool:
    """Whether letters other than Chinese make up most of the text, or kana so many that it is Japanese."""
    letters = [c for c in text if c.isalpha()]
    han = sum("\u3400" <= c <= "\u9fff" or c >= "\U00020000" for c in letters)
    # Shop names write の for 的.
    kana = sum("\u3041" <= c <= "\u30ff" and c != "の" for c in letters)
    return bool(letters) and (han < MIN_HAN * len(letters) or kana > MAX_KANA * len(letters))
