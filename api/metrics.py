"""What Prometheus reads. Labels come from fixed sets alone: never a path, a key or a word that a client chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from triage.decision import Decision

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WINDOWS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS: Final = (16, 32, 64, 128, 256, 384, 512, 1024)


class Metrics:
    """The counters of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter("triage_http_requests", "Answers", ("route", "method", "status"), registry=registry)
        self.latency = Histogram(
            "triage_http_request_seconds", "Time from request to answer", ("route",), buckets=SECONDS, registry=registry
        )
        self.waiting = Gauge("triage_queue_tokens", "Tokens that wait for the model", registry=registry)
        self.open_requests = Gauge("triage_queue_requests", "Accepted requests not yet answered", registry=registry)
        self.batch_windows = Histogram(
            "triage_batch_windows", "Windows in one batch", buckets=WINDOWS, registry=registry
        )
        self.batch_tokens = Histogram(
            "triage_batch_tokens", "Tokens in one batch, padding left out", buckets=TOKENS, registry=registry
        )
        self.padding = Counter("triage_padding_tokens", "Tokens of padding that the model computed", registry=registry)
        self.stages = Histogram(
            "triage_stage_seconds", "Time of one call of a stage", ("stage",), buckets=SECONDS, registry=registry
        )
        self.labels = Counter("triage_decisions", "Decisions", ("label", "route", "urgency"), registry=registry)
        self.reasons = Counter("triage_review_reasons", "Why decisions go to review", ("reason",), registry=registry)
        self.dropped = Counter(
            "triage_dropped_requests", "Requests that were not decided, by reason", ("reason",), registry=registry
        )
        self.failures = Counter("triage_model_failures", "Exceptions of a stage", ("stage",), registry=registry)
        self.reports = Counter("triage_reports", "Reports that were sent, by outcome", ("outcome",), registry=registry)
        self.pending = Gauge("triage_reports_pending", "Reports that wait for a decision", registry=registry)
        self.model = Info("triage_model", "The release that serves", registry=registry)
        self.switches = Counter(
            "triage_release_switches", "Releases promoted while the service ran", ("outcome",), registry=registry
        )
        self.refused = Gauge(
            "triage_release_refused", "1 while CURRENT names a release that this service refused", registry=registry
        )
        for outcome in ("switched", "refused"):
            self.switches.labels(outcome)

    def batch(self, lengths: Sequence[int]) -> None:
        """Count a batch of windows of these lengths."""
        tokens = sum(lengths)
        self.batch_windows.observe(len(lengths))
        self.batch_tokens.observe(tokens)
        self.padding.inc(max(lengths) * len(lengths) - tokens)

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Count decisions."""
        for decision in decisions:
            self.labels.labels(decision.label, decision.route, decision.urgency.value).inc()
            for reason in decision.reasons:
                self.reasons.labels(reason).inc()

    def answer(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            route: template of the path, such as ``/v1/reports/{id}``.
        """
        self.requests.labels(route, method, str(status)).inc()
        self.latency.labels(route).observe(seconds)

    def render(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        return generate_latest(self.registry)
