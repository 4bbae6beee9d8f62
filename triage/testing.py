"""The official test doubles: engines that answer as a release would, without a release.

>>> from triage.testing import KeywordEngine
>>> decision, = KeywordEngine().classify(["对方让我把钱转到安全账户"])
>>> decision.label, decision.route
('telecom_fraud', 'auto')
"""

from __future__ import annotations

import re
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from triage.decision import Decision, Entity, Evidence
from triage.engine import Prepared, merged
from triage.model.artifact import Calibration, Manifest, Routing
from triage.model.encoder import Logits
from triage.model.encoding import Window
from triage.policy import probabilities, route
from triage.taxonomy import Label, Taxonomy, Urgency
from triage.text.normalize import Normalized

OPENING, CLOSING = 0, 2
# A keyword lifts its label's logit by as much as a sure model does.
STRENGTH = 6.0

KEYWORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "traffic": ("追尾", "撞车", "占用应急车道", "逆行", "红绿灯"),
    "public_safety": ("打架", "持刀", "盗窃", "噪音", "赌博"),
    "fire_hazard": ("着火", "消防通道", "冒烟", "燃气泄漏"),
    "telecom_fraud": ("安全账户", "刷单", "公检法", "验证码"),
    "other": ("天气", "你好", "谢谢"),
}
EMERGENCY: Final = ("着火", "持刀", "燃气泄漏")
_MOBILE = re.compile(r"(?<![0-9])1[3-9][0-9]{9}(?![0-9])")


def keyword_taxonomy() -> Taxonomy:
    """The five labels of the product with their units, without reading a file."""
    rows = (
        ("traffic", "道路交通", "Road traffic", True, "交警大队", "Traffic police"),
        ("public_safety", "治安与公共安全", "Public safety", True, "派出所", "Local police station"),
        ("fire_hazard", "火灾隐患", "Fire hazard", True, "消防救援大队", "Fire and rescue"),
        ("telecom_fraud", "涉嫌电信网络诈骗", "Telecom fraud", True, "反诈中心", "Anti-fraud centre"),
        ("other", "其他/不受理", "Other / not accepted", False, "网格中心登记", "Grid centre, registered only"),
    )
    floors = {"fire_hazard": (0.3, "fire_floor"), "telecom_fraud": (0.3, "fraud_floor")}
    names = {Urgency.EMERGENCY: "紧急", Urgency.URGENT: "较急", Urgency.ROUTINE: "一般"}
    return Taxonomy(tuple(Label(*row, *floors.get(row[0], (None, ""))) for row in rows), names)


def keyword_manifest(max_tokens: int = 256, overlap: int = 64, max_windows: int = 16) -> Manifest:
    """The manifest of the double, with thresholds as a release has them."""
    return Manifest(
        version="keyword-1",
        stage="encoder",
        calibration=Calibration(),
        routing=Routing(auto=dict.fromkeys(KEYWORDS, 0.8), margin=0.2),
        max_tokens=max_tokens,
        overlap=overlap,
        max_windows=max_windows,
        metrics={"test": {"macro_f1": 0.9}},
    )


class KeywordEngine:
    """A ``Classifier`` that looks for a few words; thread-safe.

    One token is one character, windows are cut as the real encoding cuts them, and ``infer`` reads nothing but ids.

    Args:
        seconds_per_token: how long ``infer`` sleeps for each token, as a real model would compute.
        poison: ``infer`` raises for every batch that holds this text; empty for never.

    Attributes:
        broken: set it to True and every ``infer`` raises.
        batches: lengths of the windows of every ``infer``, in the order of the calls.
    """

    def __init__(self, seconds_per_token: float = 0.0, poison: str = "", manifest: Manifest | None = None) -> None:
        self.manifest = manifest or keyword_manifest()
        self.version = self.manifest.version
        self.taxonomy = keyword_taxonomy()
        self.broken = False
        self.batches: list[tuple[int, ...]] = []
        self._seconds_per_token = seconds_per_token
        self._poison = poison
        self._lock = threading.Lock()

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """Decide on each text, in order."""
        prepared = self.prepare(texts)
        logits = iter(self.infer([window for item in prepared for window in item.windows]))
        return [self.interpret(item, [next(logits) for _ in item.windows]) for item in prepared]

    def prepare(self, texts: Sequence[str]) -> list[Prepared]:
        """One token per character; a text without letters or digits has no windows."""
        return [self._prepare(text) for text in texts]

    def infer(self, windows: Sequence[Window]) -> list[Logits]:
        """Logits of each window, from its ids alone.

        Raises:
            RuntimeError: the engine is ``broken`` or a window holds the poison. The message holds the text, as the
                messages of careless libraries do, so that tests can see whether it leaks.
        """
        with self._lock:
            self.batches.append(tuple(len(window.ids) for window in windows))
        if self._seconds_per_token:
            time.sleep(self._seconds_per_token * sum(len(window.ids) for window in windows))
        texts = ["".join(map(chr, window.ids[1:-1])) for window in windows]
        if self.broken or (self._poison and any(self._poison in text for text in texts)):
            raise RuntimeError(f"the double fails on {texts}")
        return [self._logits(text) for text in texts]

    def interpret(self, prepared: Prepared, logits: Sequence[Logits]) -> Decision:
        """The decision that the logits say."""
        ids = self.taxonomy.ids
        if prepared.blank:
            return self._undecided(prepared)
        found = probabilities(merged(prepared.windows, logits), self.manifest.calibration).tolist()
        scores: dict[str, float] = dict(zip(ids, found, strict=True))
        label = max(ids, key=lambda key: scores[key])
        given, reasons = route(scores, self.taxonomy, self.manifest.routing)
        reasons = (*reasons, *(("truncated",) if prepared.truncated else ()))
        hot = [word for word in EMERGENCY if word in prepared.message.text]
        return Decision(
            label=label,
            confidence=scores[label],
            scores=scores,
            route="review" if reasons else given,
            reasons=reasons,
            urgency=Urgency.EMERGENCY if hot else Urgency.ROUTINE,
            urgency_reasons=("keyword",) if hot else (),
            unit=self.taxonomy[label].unit,
            entities=_mobiles(prepared.message.text),
            evidence=_evidence(prepared.message.text, label),
            truncated=prepared.truncated,
            read=(0, prepared.windows[-1].read[1]),
            model=self.version,
            stage="encoder",
        )

    def _prepare(self, text: str) -> Prepared:
        positions = range(len(text))
        message = Normalized(text, text, array("I", positions), array("I", range(1, len(text) + 1)))
        if not any(c.isalnum() for c in text):
            return Prepared(message, (), "media_only" if text.strip() else "empty", False)
        manifest = self.manifest
        room = manifest.max_tokens - 2
        step = room - manifest.overlap
        starts = range(0, max(1, len(text) - manifest.overlap), step) if len(text) > room else range(1)
        windows = tuple(_window(text, start, start + room) for start in starts[: manifest.max_windows])
        return Prepared(message, windows, "", len(starts) > manifest.max_windows)

    def _logits(self, text: str) -> Logits:
        ids = self.taxonomy.ids
        tokens = np.zeros((len(text) + 2, len(ids)), dtype=np.float32)
        outputs = np.zeros(len(ids), dtype=np.float32)
        for column, label in enumerate(ids):
            hits = [text.find(word) for word in KEYWORDS[label] if word in text]
            tokens[[hit + 1 for hit in hits], column] = STRENGTH
            outputs[column] = STRENGTH * bool(hits)
        return Logits(outputs, tokens)

    def _undecided(self, prepared: Prepared) -> Decision:
        even = 1 / len(self.taxonomy.ids)
        return Decision(
            label="other",
            confidence=even,
            scores=dict.fromkeys(self.taxonomy.ids, even),
            reasons=(prepared.blank,),
            unit=self.taxonomy["other"].unit,
            read=(0, len(prepared.message.raw)),
            model=self.version,
            stage="rule",
        )


def _window(text: str, start: int, end: int) -> Window:
    piece = text[start:end]
    spans = ((start + i, start + i + 1) for i in range(len(piece)))
    return Window((OPENING, *map(ord, piece), CLOSING), ((0, 0), *spans, (0, 0)))


def _evidence(text: str, label: str) -> tuple[Evidence, ...]:
    found = [(text.find(word), len(word)) for word in KEYWORDS[label] if word in text]
    return tuple(Evidence(start, start + size, 1 / len(found)) for start, size in found)


def _mobiles(text: str) -> tuple[Entity, ...]:
    return tuple(Entity("mobile", *match.span(), match.group()) for match in _MOBILE.finditer(text))
