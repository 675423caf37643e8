"""Metrics of the service in the format of Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "centernet2"
SIZES = (1, 2, 4, 8, 16, 32, 64)  # of batches
STAGES = ("read", "decode", "wait", "forward", "encode")


class ServiceMetrics:
    """Counters and times of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.queue_length = Gauge(
            f"{PREFIX}_queue_length", "Images that wait for a batch", registry=self._registry
        )
        self.batch_size = Histogram(
            f"{PREFIX}_batch_size", "Images in a forward pass", buckets=SIZES,
            registry=self._registry,
        )  # fmt: skip
        self.answered = Counter(
            f"{PREFIX}_answered", "Requests that got a result", registry=self._registry
        )
        self.cancelled = Counter(
            f"{PREFIX}_cancelled", "Requests whose client left before the answer",
            registry=self._registry,
        )  # fmt: skip
        self.refused = Counter(
            f"{PREFIX}_refused", "Requests refused, by status code", ("status",),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"{PREFIX}_stage_seconds", "Time that a stage takes", ("stage",),
            registry=self._registry,
        )  # fmt: skip
        for stage in STAGES:  # all of them, also before the first request
            self._seconds.labels(stage)

    def observe(self, stage: str, seconds: float) -> None:
        """Add the seconds that a stage has taken once."""
        self._seconds.labels(stage).observe(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time a block as a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.observe(stage, time.monotonic() - started)

    def text(self) -> bytes:
        """Return all values for Prometheus."""
        return generate_latest(self._registry)
