"""Dynamic batching: images that arrive close in time share a forward pass."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from centernet2.serve.limits import Gate
from centernet2.serve.service_metrics import ServiceMetrics
from centernet2.structures import Pixels

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

# detections of images that reach a score
DetectBatch: TypeAlias = "Callable[[Sequence[Pixels], float], list[Prediction]]"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOptions:
    """How images are collected."""

    max_size: int = 8  # images in a forward pass
    max_wait: float = 0.005  # seconds that an image waits for others while the device is free


@dataclass(eq=False)
class _Waiting:
    pixels: Pixels
    floor: float
    arrived: float
    answer: "asyncio.Future[Prediction]"


class Batcher:
    """Batches for one detector.

    Only images of one bucket share a batch: those that have the same size for the detector, so the
    neighbors of an image do not change its detections. The bucket whose first image has waited
    longest is next, so none starves.

    Args:
        detect: the detector; it is called in a thread of `device`.
        bucket_of: bucket of an image, by its height and width.
        device: runs one forward pass at a time.
        gate: learns how long images take.
    """

    def __init__(
        self,
        detect: DetectBatch,
        bucket_of: Callable[[int, int], Hashable],
        *,
        device: Executor,
        options: BatchOptions,
        gate: Gate,
        metrics: ServiceMetrics,
    ) -> None:
        self._detect, self._bucket_of, self._device = detect, bucket_of, device
        self._options, self._gate, self._metrics = options, gate, metrics
        self._buckets: dict[Hashable, deque[_Waiting]] = {}
        self._changed = asyncio.Event()
        self._is_closing = False

    async def detect(self, pixels: Pixels, floor: float) -> "Prediction":
        """Return the detections of an image; a cancelled call leaves the queue.

        Detections below the score `floor` are of no interest; others may ask for more.
        """
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        bucket = self._bucket_of(*pixels.shape[:2])
        waiting = _Waiting(pixels, floor, time.monotonic(), answer)
        self._buckets.setdefault(bucket, deque()).append(waiting)
        self._changed.set()
        self._metrics.queue_length.inc()
        try:
            return await answer
        finally:
            if waiting in self._buckets.get(bucket, ()):
                self._buckets[bucket].remove(waiting)
                self._count_out(bucket, 1)

    async def run(self) -> None:
        """Form batches until `close`, and then until none waits."""
        while self._buckets or not self._is_closing:
            bucket, wait = self._next(time.monotonic())
            if bucket is not None:
                await self._run_batch(self._take(bucket))
                continue
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except asyncio.TimeoutError:
                continue

    def close(self) -> None:
        """End `run` after the images that wait; they do not wait for others any more."""
        self._is_closing = True
        self._changed.set()

    def _next(self, now: float) -> tuple[Hashable | None, float | None]:
        """Return the bucket that is due, or the seconds until one is; None: for ever."""
        wait = 0.0 if self._is_closing else self._options.max_wait
        due: dict[Hashable, float] = {}
        left: float | None = None
        for bucket, images in self._buckets.items():
            first = images[0].arrived
            remaining = first + wait - now
            if remaining <= 0 or len(images) >= self._options.max_size:
                due[bucket] = first
            elif left is None or remaining < left:
                left = remaining
        return (min(due, key=due.__getitem__), None) if due else (None, left)

    def _take(self, bucket: Hashable) -> list[_Waiting]:
        images = self._buckets[bucket]
        count = min(len(images), self._options.max_size)
        batch = [images.popleft() for _ in range(count)]
        self._count_out(bucket, count)
        return batch

    def _count_out(self, bucket: Hashable, count: int) -> None:
        """Count images out of the queue; drop the bucket with its last one."""
        if not self._buckets[bucket]:
            del self._buckets[bucket]
        self._metrics.queue_length.dec(count)

    async def _run_batch(self, images: Sequence[_Waiting]) -> None:
        """Answer the images whose clients wait; if a batch fails, run them one by one."""
        batch = [each for each in images if not each.answer.done()]
        if not batch:
            return
        started = time.monotonic()
        for each in batch:
            self._metrics.observe("wait", started - each.arrived)
        try:
            predictions = await self._forward(batch)
        except Exception as error:
            if len(batch) > 1:  # one image must not fail the others
                logger.warning("a batch has failed (%s); its images run alone", error)
                for each in batch:
                    await self._run_batch([each])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        seconds = time.monotonic() - started
        self._metrics.observe("forward", seconds)
        self._metrics.batch_size.observe(len(batch))
        self._gate.seconds_per_image = seconds / len(batch)
        for each, prediction in zip(batch, predictions, strict=True):
            if not each.answer.done():
                each.answer.set_result(prediction)

    async def _forward(self, batch: Sequence[_Waiting]) -> "list[Prediction]":
        pixels, floor = [each.pixels for each in batch], min(each.floor for each in batch)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._device, self._detect, pixels, floor)
