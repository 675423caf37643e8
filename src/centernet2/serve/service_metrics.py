"""Metrics of the service in the format of Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SIZES = (1, 2, 4, 8, 16, 32, 64)  # of batches
STAGES = ("read", "decode", "wait", "forward", "encode")


class ServiceMetrics:
    """Counters and times of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"namespace": "centernet2", "registry": self._registry}
        self.queue_length = Gauge("queue_length", "Images that wait for a batch", **own)
        self.batch_size = Histogram("batch_size", "Images in a forward pass", buckets=SIZES, **own)
        self.answered = Counter("answered", "Requests that got a result", **own)
        self.cancelled = Counter("cancelled", "Requests whose client left before the answer", **own)
        self.refused = Counter("refused", "Requests refused, by status code", ("status",), **own)
        self._seconds = Histogram("stage_seconds", "Time that a stage takes", ("stage",), **own)
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
