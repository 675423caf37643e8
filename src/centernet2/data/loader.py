"""Batches for training and evaluation, read by worker processes.

A training batch is a function of (seed, step) alone. The order of images is one global stream; it
is cut into global batches, and each process takes its share of each. The random numbers of an
image's augmentation follow from its position in that stream. So batches do not depend on the number
of workers or processes, nor on interruptions.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_bool
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from multiprocessing.util import Finalize
from threading import Thread
from typing import Any

import numpy as np
from torch import Generator
from torch.utils.data import DataLoader, Dataset

from centernet2.data.dataset import DetectionDataset
from centernet2.data.image_check import MAX_UNUSABLE
from centernet2.data.mixing import Mixing
from centernet2.data.samplers import Sampler
from centernet2.data.transforms import TrainTransform
from centernet2.data.worker_images import Draw, EvalImages, LoadedImage, TrainImages
from centernet2.data.worker_transfer import pack, unpack
from centernet2.images.image_files import ImageError
from centernet2.images.resize import EvalTransform
from centernet2.structures import Batch

logger = logging.getLogger(__name__)

MAX_BROKEN_SHARE = MAX_UNUSABLE["train"]  # of the drawn images; more stop training
MIN_DRAWN = 100  # the share is taken of at least this many draws
MAX_NAMED_BROKEN = 3  # broken images that the error names
CLOSED_SECONDS = 0.5  # between two looks of a worker
WORKER_SIGNALS = (signal.SIGTERM, signal.SIGINT)

OnFailure = Callable[[LoadedImage], None]


@dataclass(frozen=True)
class LoaderOptions:
    """Sampling and loading of images."""

    num_workers: int = 4
    aspect_ratio_grouping: bool = True
    filter_empty: bool = True
    sampler: str = "TrainingSampler"
    dataset_ratio: tuple[float, ...] = ()
    repeat_threshold: float = 0.0
    repeat_sqrt: bool = True


def train_batches(
    dataset: DetectionDataset,
    transform: TrainTransform,
    sampler: Sampler,
    *,
    mixing: Mixing | None = None,
    batch_size: int,
    num_workers: int,
    start_step: int,
    aspect_ratio_grouping: bool,
    rank: int,
    world_size: int,
) -> Iterator[Batch]:
    """Yield training batches without end.

    A broken image is replaced by another draw from the sampler's distribution.

    Args:
        dataset: index of the training images.
        transform: augmentation of one image.
        sampler: order of the images.
        mixing: augmentation that mixes several images.
        batch_size: images per process.
        num_workers: worker processes; 0 reads images in this process.
        start_step: number of batches to skip.
        aspect_ratio_grouping: batch wide images with wide ones, and tall with tall.
        rank: of this process.
        world_size: number of processes.

    Raises:
        ValueError: too many images are broken.
    """
    if len(sampler.weights) != len(dataset):
        raise ValueError(
            f"the sampler has {len(sampler.weights)} images, but {dataset.name} has {len(dataset)}"
        )
    wide = (
        dataset.widths > dataset.heights
        if aspect_ratio_grouping
        else np.zeros(len(dataset), dtype=bool)
    )
    batches = global_batches(sampler, wide.tobytes(), batch_size=batch_size * world_size)
    shares = (batch[rank::world_size] for batch in islice(batches, start_step, None))
    broken = BrokenImages(dataset.name)
    images = TrainImages(dataset, transform, sampler, mixing)
    for loaded in _load(images, shares, num_workers=num_workers):
        broken.count(loaded)
        yield _batch(loaded)


def _raise_failure(loaded: LoadedImage) -> None:
    raise ImageError(loaded.failures[0])


def eval_batches(
    dataset: DetectionDataset,
    transform: EvalTransform,
    *,
    batch_size: int,
    num_workers: int,
    rank: int,
    world_size: int,
    size_divisibility: int = 1,
    skip: Collection[int] = (),
    on_failure: OnFailure = _raise_failure,
) -> Iterator[Batch]:
    """Yield this process's share of the images, each image once.

    All images of a batch have one padded size: so the detections of an image do not depend on the
    others, and no time is spent on padding. Large images come first, so that insufficient memory
    shows at once.

    Args:
        dataset: index of the images.
        transform: resizes an image.
        batch_size: largest number of images in a batch.
        num_workers: worker processes; 0 reads images in this process.
        rank: of this process.
        world_size: number of processes.
        size_divisibility: height and width are padded to multiples of it.
        skip: indices of images to leave out.
        on_failure: gets an image that cannot be used; default: raises.

    Raises:
        ImageError: an image cannot be used.
    """
    shapes = _padded_shapes(dataset, transform, size_divisibility)
    left = sorted(set(range(len(dataset))).difference(skip))
    order = sorted(left, key=lambda i: (-shapes[i][0] * shapes[i][1], shapes[i]))[rank::world_size]
    groups = (list(group) for _, group in groupby(order, key=shapes.__getitem__))
    chunks = (
        group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)
    )
    for loaded in _load(EvalImages(dataset, transform), chunks, num_workers=num_workers):
        for item in loaded:
            if item.image is None:
                on_failure(item)
        usable = [item for item in loaded if item.image is not None]
        if usable:
            yield _batch(usable)


def _padded_shapes(
    dataset: DetectionDataset, transform: EvalTransform, multiple: int
) -> list[tuple[int, int]]:
    """Height and width of each image after resizing and padding."""
    sizes = (transform.output_size(*dataset.size(i)) for i in range(len(dataset)))
    return [
        (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        for height, width in sizes
    ]


def global_batches(
    stream: Iterable[int], group: Sequence[int], *, batch_size: int
) -> Iterator[list[Draw]]:
    """Cut a stream of indices into batches, each of images of one group (0 or 1)."""
    waiting: list[list[Draw]] = [[], []]
    for position, image in enumerate(stream):
        batch = waiting[group[image]]
        batch.append(Draw(position, image, batch[0].position if batch else position))
        if len(batch) == batch_size:
            yield batch
            waiting[group[image]] = []


class BrokenImages:
    """Count images that cannot be used, and log each once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drawn = self.failed = 0
        self.logged: set[str] = set()
        self.examples: list[str] = []

    def count(self, loaded: Sequence[LoadedImage]) -> None:
        """Count the failures of a batch; raise ValueError if their share is too large."""
        for item in loaded:
            self.drawn += 1
            self.failed += len(item.failures)
            for failure in item.failures:
                if failure not in self.logged:
                    # an error: of other processes, whose images are others, warnings are not shown
                    logger.error("%s (another image is taken in its place)", failure)
                    self.logged.add(failure)
                    self.examples = [*self.examples, failure][:MAX_NAMED_BROKEN]
        has_no_replacement = any(item.image is None for item in loaded)
        if has_no_replacement or self.failed > MAX_BROKEN_SHARE * max(self.drawn, MIN_DRAWN):
            raise ValueError(
                f"{self.name}: {self.failed} of the first {self.drawn} images drawn cannot be "
                f"used, more than {MAX_BROKEN_SHARE:.0%}; repair the data set first "
                f"(such as {' | '.join(self.examples)})"
            )


def _load(
    images: Dataset[LoadedImage], keys: Iterable[Sequence[object]], *, num_workers: int
) -> Iterator[list[LoadedImage]]:
    closed = multiprocessing.RawValue(c_bool, False)
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_sampler=keys,  # type: ignore[arg-type]  # keys need not be integers
        num_workers=num_workers,
        collate_fn=pack if num_workers else list,
        worker_init_fn=partial(_ignore_stop_signals, closed),
        generator=Generator(),  # by default it draws from the global random state
    )
    with _stop_signals_blocked():  # a worker inherits this, and so misses no moment
        loaded = iter(loader)
    # Where an error keeps this generator alive, it runs at exit, before Python waits for workers.
    close = Finalize(None, setattr, args=(closed, "value", True), exitpriority=0)
    try:
        yield from map(unpack, loaded) if num_workers else loaded
    finally:
        close()


def _ignore_stop_signals(closed: c_bool, worker: int) -> None:
    """Ignore SIGTERM and Ctrl-C in a worker: the main process decides when it ends.

    These signals often reach the whole process group, the workers first. A worker ends when the
    main process closes the loader or is gone, which it notices within seconds.
    """
    for number in WORKER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_once_closed, args=[closed], daemon=True).start()


def _end_once_closed(closed: c_bool) -> None:
    """End this worker soon after the loader is closed, also if a read never returns."""
    while not closed.value:
        time.sleep(CLOSED_SECONDS)
    os._exit(0)


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Deliver these signals to this process when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _batch(loaded: Sequence[LoadedImage]) -> Batch:
    return Batch(
        images=[item.image for item in loaded if item.image is not None],
        targets=[item.target for item in loaded if item.target is not None],
        indices=[item.image_index for item in loaded],
        image_ids=[item.image_id for item in loaded],
        sizes=[item.size for item in loaded],
    )
