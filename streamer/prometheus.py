"""What /metrics shows, in a registry of the server's own."""

from collections.abc import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class ServerMetrics:
    """Counters of one server; no name, address or token is in any label."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.sessions = Gauge("streamer_sessions", "People on camera", registry=registry)
        self.ready = Gauge("streamer_ready", "1 when the model is warm", registry=registry)
        self.started = Counter("streamer_sessions_started", "Sessions begun", registry=registry)
        self.errors = Counter(
            "streamer_errors", "Errors told to clients, by code", ["code"], registry=registry
        )
        self.frames = Counter(
            "streamer_frames", "Frames, by what became of them", ["event"], registry=registry
        )
        self.lost = Counter(
            "streamer_compute_lost", "Times the compute process died", registry=registry
        )
        self.load_level = Gauge(
            "streamer_load_level", "What is given up under load, 0 nothing", registry=registry
        )
        self.places = Gauge(
            "streamer_sessions_limit", "People that may be on camera at once", registry=registry
        )
        self.stages = Histogram(
            "streamer_stage_seconds",
            "Median time of a session's frames in each stage, observed once a second",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self.latency = Histogram(
            "streamer_latency_seconds",
            "Median time of a session's frames in the server, observed once a second",
            buckets=_SECONDS,
            registry=registry,
        )

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def observe_stages(self, stages_ms: Mapping[str, Mapping[str, float]]) -> None:
        """The medians of one session's stages, as its figures have them."""
        for stage, parts in stages_ms.items():
            self.stages.labels(stage=stage).observe(parts["p50"] / 1000)
        if "total" in stages_ms:
            self.latency.observe(stages_ms["total"]["p50"] / 1000)

    def count_error(self, code: str) -> None:
        """One error told."""
        self.errors.labels(code=code).inc()
