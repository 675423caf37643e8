"""Batches for training and evaluation, read by worker processes.

A training batch is a function of (seed, step) alone: the order of images is one global stream, cut into global batches
of which each process takes its share, and the random numbers of an image's augmentation follow from its position in
that stream. So neither the number of workers, nor of processes, nor an interruption changes what is seen.
"""

import logging
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from centernet2.data.dataset import DetectionDataset
from centernet2.data.image import ImageError, StoredImage, read_file
from centernet2.data.mixing import Mixing
from centernet2.data.samplers import Sampler
from centernet2.data.transforms import EvalTransform, Sample, TrainTransform
from centernet2.structures import Target

logger = logging.getLogger(__name__)

MAX_BROKEN_SHARE = 0.05  # training stops where more of the drawn images cannot be used
MIN_DRAWN = 100  # the share is taken of at least so many draws
MAX_TRIES = 10  # replacements for one image
EXAMPLES = 3  # broken images that the error names

Item = TypeVar("Item")


@dataclass(frozen=True)
class LoaderOptions:
    """Order and loading of images."""

    num_workers: int = 4
    aspect_ratio_grouping: bool = True
    filter_empty: bool = True
    sampler: str = "TrainingSampler"
    dataset_ratio: tuple[float, ...] = ()
    repeat_threshold: float = 0.0
    repeat_sqrt: bool = True


class Batch(NamedTuple):
    """Images of one step with what belongs to them."""

    images: list[Tensor]  # uint8 [3, H, W] RGB
    targets: list[Target]  # empty in evaluation
    image_ids: list[int]
    sizes: list[tuple[int, int]]  # height and width of the image files


class Draw(NamedTuple):
    """One element of the stream of training images."""

    position: int
    image: int  # index in the data set


class Loaded(NamedTuple):
    """What a worker hands over for one image; without an image where only failures are left."""

    failures: list[str]
    image: Tensor | None = None
    target: Target | None = None
    image_id: int = -1
    size: tuple[int, int] = (0, 0)


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
    """Batches without end, from `start_step` on; `batch_size` images for this process; `mixing` joins several to one.

    A broken image is replaced by another draw from the sampler's distribution; ValueError where too many are broken.
    """
    if len(sampler.weights) != len(dataset):
        raise ValueError(
            f"a sampler of {len(sampler.weights)} images cannot serve the {len(dataset)} of {dataset.name}"
        )
    wide = (
        dataset.widths > dataset.heights
        if aspect_ratio_grouping
        else np.zeros(len(dataset), dtype=bool)
    )
    batches = global_batches(sampler, wide.tobytes(), batch_size=batch_size * world_size)
    shares = (batch[rank::world_size] for batch in islice(batches, start_step, None))
    broken = BrokenImages(dataset.name)
    for loaded in _load(
        TrainImages(dataset, transform, sampler, mixing), shares, num_workers=num_workers
    ):
        broken.count(loaded)
        yield _batch(loaded)


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
) -> Iterator[Batch]:
    """This process's share of the images, each once and none of them twice among the processes.

    A batch holds images of one size only, after padding to a multiple of `size_divisibility`: what is found in an image
    does not depend on its company, and no time is spent on padding. Large ones come first, so that memory that does not
    suffice is noticed at once. The images whose ids are in `skip` are left out.
    """
    shapes = _padded_shapes(dataset, transform, size_divisibility)
    left = np.flatnonzero(~np.isin(dataset.image_ids, list(skip))).tolist()
    order = sorted(left, key=lambda i: (-shapes[i][0] * shapes[i][1], shapes[i]))[rank::world_size]
    groups = (list(group) for _, group in groupby(order, key=shapes.__getitem__))
    chunks = (
        group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)
    )
    for loaded in _load(EvalImages(dataset, transform), chunks, num_workers=num_workers):
        failures = _failures(loaded)
        if failures:
            raise ImageError(failures[0])
        yield _batch(loaded)


def _padded_shapes(
    dataset: DetectionDataset, transform: EvalTransform, multiple: int
) -> list[tuple[int, int]]:
    """Height and width of each image as the network sees it."""
    sizes = (transform.output_size(*dataset.size(i)) for i in range(len(dataset)))
    return [
        (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        for height, width in sizes
    ]


def global_batches(
    stream: Iterable[int], group: Sequence[int], *, batch_size: int
) -> Iterator[list[Draw]]:
    """Cut a stream of indices into batches whose images are all of one group (0 or 1)."""
    waiting: list[list[Draw]] = [[], []]
    for position, image in enumerate(stream):
        batch = waiting[group[image]]
        batch.append(Draw(position, image))
        if len(batch) == batch_size:
            yield batch
            waiting[group[image]] = []


class TrainImages(Dataset[Loaded]):
    """Reads and augments the image of a draw; runs in the workers."""

    def __init__(
        self,
        dataset: DetectionDataset,
        transform: TrainTransform,
        sampler: Sampler,
        mixing: Mixing | None = None,
    ) -> None:
        self.dataset, self.transform, self.mixing = dataset, transform, mixing
        self.weights, self.seed = sampler.weights, sampler.seed

    def __getitem__(self, draw: Draw) -> Loaded:
        generator = generator_of(self.seed, draw.position)
        failures: list[str] = []
        try:
            if self.mixing is None:
                transformed = partial(self._transformed, generator)
                index, (image, target) = self._usable(draw.image, transformed, generator, failures)
            else:
                index, sample = self._usable(draw.image, self._whole, generator, failures)
                further = partial(self._draw, generator, failures)
                image, target = self.mixing(sample, further, self.transform, generator)
        except ImageError:  # after many others, which `failures` holds
            return Loaded(failures)
        return Loaded(
            failures, image, target, int(self.dataset.image_ids[index]), self.dataset.size(index)
        )

    def _usable(
        self, index: int, read: Callable[[int], Sample], generator: Generator, failures: list[str]
    ) -> tuple[int, Sample]:
        """An image with its index and objects; another one from the same distribution where it is broken."""
        while True:
            try:
                return index, read(index)
            except ImageError as error:
                failures.append(str(error))
                if len(failures) > MAX_TRIES:
                    raise
                index = self._random_index(generator)

    def _whole(self, index: int) -> Sample:
        return read_indexed_image(self.dataset, index), self.dataset.target(index)

    def _transformed(self, generator: Generator, index: int) -> Sample:
        return self.transform(
            stored_image(self.dataset, index), self.dataset.target(index), generator
        )

    def _draw(self, generator: Generator, failures: list[str]) -> Sample:
        """A further image for the mixture."""
        return self._usable(self._random_index(generator), self._whole, generator, failures)[1]

    def _random_index(self, generator: Generator) -> int:
        return int(torch.multinomial(self.weights, 1, generator=generator))


class EvalImages(Dataset[Loaded]):
    """Reads and resizes the image of an index; runs in the workers."""

    def __init__(self, dataset: DetectionDataset, transform: EvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __getitem__(self, index: int) -> Loaded:
        try:
            image = self.transform(read_indexed_image(self.dataset, index))
        except ImageError as error:
            return Loaded([str(error)])
        return Loaded([], image, None, int(self.dataset.image_ids[index]), self.dataset.size(index))


class BrokenImages:
    """Counts images that could not be used; each is logged once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drawn = self.failed = 0
        self.logged: set[str] = set()
        self.examples: list[str] = []

    def count(self, loaded: Sequence[Loaded]) -> None:
        """ValueError where the share of failures is too large."""
        for item in loaded:
            self.drawn += 1
            self.failed += len(item.failures)
            for failure in item.failures:
                if failure not in self.logged:
                    logger.warning("%s (another image is taken in its place)", failure)
                    self.logged.add(failure)
                    self.examples = [*self.examples, failure][:EXAMPLES]
        hopeless = any(item.image is None for item in loaded)
        if hopeless or self.failed > MAX_BROKEN_SHARE * max(self.drawn, MIN_DRAWN):
            raise ValueError(
                f"{self.name}: {self.failed} of the first {self.drawn} images drawn cannot be used, more than "
                f"{MAX_BROKEN_SHARE:.0%}; repair the data set first (such as {' | '.join(self.examples)})"
            )


def _failures(loaded: Sequence[Loaded]) -> list[str]:
    return [failure for item in loaded for failure in item.failures]


def read_indexed_image(dataset: DetectionDataset, index: int) -> Tensor:  # uint8 [3, H, W]
    """Image of the data set, of the size that its annotations are made for."""
    return stored_image(dataset, index).whole()


def stored_image(dataset: DetectionDataset, index: int) -> StoredImage:
    """Image of the data set, not yet decoded."""
    path = dataset.image_path(index)
    return StoredImage(read_file(path), str(path), *dataset.size(index))


def generator_of(seed: int, position: int) -> Generator:
    """The random numbers of one draw."""
    state = np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state[0]))


def _load(
    images: Dataset[Loaded], keys: Iterable[Sequence[object]], *, num_workers: int
) -> Iterator[list[Loaded]]:
    loader: DataLoader[Loaded] = DataLoader(
        images,
        batch_sampler=keys,  # type: ignore[arg-type]  # any keys that the data set takes
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=_ignore_interrupt,
        generator=Generator(),  # otherwise it draws from, and so changes, the global random numbers
    )
    yield from loader


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches the whole group of processes: the main one decides when the workers stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _batch(loaded: Sequence[Loaded]) -> Batch:
    return Batch(
        images=[item.image for item in loaded if item.image is not None],
        targets=[item.target for item in loaded if item.target is not None],
        image_ids=[item.image_id for item in loaded],
        sizes=[item.size for item in loaded],
    )
