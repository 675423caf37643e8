"""The state of the service: models, queue, threads; from images to detections."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from centernet2.serve.addresses import AddressRules, fetch
from centernet2.serve.batching import Batcher, BatchOptions
from centernet2.serve.decoding import count_pixels, decode_upload
from centernet2.serve.limits import Gate, Limits
from centernet2.serve.refusals import Refused, unprocessable
from centernet2.serve.served_model import ServedModel, Wanted, choose_detections
from centernet2.serve.service_metrics import ServiceMetrics
from centernet2.serve.video_jobs import VideoJobs, VideoOptions
from centernet2.spelling import did_you_mean
from centernet2.structures import Pixels

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

P = ParamSpec("P")
R = TypeVar("R")
FETCHES = 16  # images at addresses, at the same time
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelStudio:
    """A Label Studio whose images the service may read."""

    origin: str  # scheme, host and port
    headers: dict[str, str] = field(default_factory=dict)  # of requests, such as its token


@dataclass(frozen=True)
class ServiceOptions:
    """What an operator decides."""

    limits: Limits = field(default_factory=Limits)
    batches: BatchOptions = field(default_factory=BatchOptions)
    addresses: AddressRules = field(default_factory=AddressRules)
    videos: VideoOptions = field(default_factory=VideoOptions)
    token: str | None = None  # None: everybody may ask
    label_studio: LabelStudio | None = None  # None: tasks hold data URIs or allowed addresses


class Service:
    """Detectors that share one device, the default one first, with a queue of images."""

    def __init__(
        self, models: Sequence[ServedModel], options: ServiceOptions | None = None
    ) -> None:
        self.models: Mapping[str, ServedModel] = {model.name: model for model in models}
        self.options = options or ServiceOptions()
        self.limits = self.options.limits
        self.metrics = ServiceMetrics()
        self.gate = Gate(self.limits.max_queue, self.limits.waiting_pixels)
        self.is_ready = False
        self.videos = VideoJobs(self.options.videos)
        self._device = ThreadPoolExecutor(1, "device")
        self._workers = ThreadPoolExecutor(max(2, os.cpu_count() or 2), "worker")
        self._fetchers = ThreadPoolExecutor(FETCHES, "fetch")  # which wait for other hosts
        self._batchers: dict[str, Batcher] = {}
        self._with_masks: dict[str, bool] = {}  # of the models that have seen a first image
        self._batching: list[asyncio.Task[None]] = []  # of each batcher
        self._warming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to form batches; the service is ready after a first image of each model."""
        for name, model in self.models.items():
            self._batchers[name] = Batcher(
                model.detect, model.bucket_of, device=self._device,
                options=self.options.batches, gate=self.gate, metrics=self.metrics,
            )  # fmt: skip
        self._batching = [asyncio.create_task(each.run()) for each in self._batchers.values()]
        self.check()

    def check(self) -> None:
        """Give each model a blank image: the service is ready if none fails on it."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm_up())

    async def until_ready(self) -> None:
        """Wait until each model has seen a first image; RuntimeError if one fails on it."""
        if self._warming is not None:
            await self._warming
        if not self.is_ready:
            raise RuntimeError("a model fails on a blank image; the log says why")

    async def stop(self) -> None:
        """End the videos, answer the images that wait, and end the threads."""
        self.is_ready = False
        await self.videos.stop()
        if self._warming is not None:
            self._warming.cancel()  # a batcher that has ended would never answer it
        for batcher in self._batchers.values():
            batcher.close()
        await asyncio.gather(*self._batching)
        self._device.shutdown()
        self._workers.shutdown()
        self._fetchers.shutdown()

    async def _warm_up(self) -> None:
        for name, model in self.models.items():
            try:
                blank = np.zeros((*model.image_size, 3), np.uint8)
                first = await self._batchers[name].detect(blank, 1.0)
                self._with_masks[name] = first.has_masks
            except Exception:
                logger.exception("the model %s fails on a blank image; /ready says so", name)
                self.is_ready = False
                return
        self.is_ready = True

    def model(self, name: str | None) -> ServedModel:
        """Return a model by name, or the first; Refused if there is none."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            hint = did_you_mean(name, [*self.models])
            raise unprocessable(
                f"there is no model '{name[:80]}'{hint}; there are {', '.join(self.models)}"
            )
        return self.models[name]

    def has_masks(self, model: ServedModel) -> bool:
        """Whether the detections of a model have masks; Refused before its first image."""
        if model.name not in self._with_masks:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, "the service is not ready; try again", retry_after=1
            )
        return self._with_masks[model.name]

    @asynccontextmanager
    async def decoded(self, *contents: bytes) -> AsyncIterator[list[Pixels]]:
        """Yield the images of a request; Refused if too many pixels wait already."""
        limit = self.limits.max_pixels
        counts = await asyncio.gather(*(self.work(count_pixels, x, limit) for x in contents))
        with self.gate.hold_pixels(sum(counts)):
            yield await asyncio.gather(*map(self._decode, contents))

    async def _decode(self, content: bytes) -> Pixels:
        with self.metrics.timed("decode"):
            return await self.work(decode_upload, content)

    async def detect(self, pixels: Pixels, model: ServedModel, wanted: Wanted) -> "Prediction":
        """Return the wanted detections of an image, from a batch with others."""
        try:
            prediction = await self._batchers[model.name].detect(pixels, wanted.floor)
        except ValueError as error:  # such as of a file that takes one size of images
            raise unprocessable(str(error)) from error
        except Exception:  # of this image, or of the device, as after a crash of CUDA
            self.check()
            raise
        return choose_detections(prediction, wanted)

    async def fetch(
        self, url: str, rules: AddressRules | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        """Return the content of an address that rules admit; default: the operator's."""
        call = partial(fetch, url, rules or self.options.addresses, headers)
        return await asyncio.get_running_loop().run_in_executor(self._fetchers, call)

    async def work(self, function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """Call a function in a thread, so that others are answered meanwhile."""
        call = partial(function, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self._workers, call)

    async def on_device(self, function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """Call a function between two batches."""
        call = partial(function, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self._device, call)
