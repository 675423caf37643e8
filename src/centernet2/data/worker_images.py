"""Reading and transforming of images in worker processes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from centernet2.data.dataset import DetectionDataset
from centernet2.data.mixing import Mixing
from centernet2.data.samplers import Sampler
from centernet2.data.transforms import Sample, TrainTransform
from centernet2.images.image_files import ImageError, read_file
from centernet2.images.resize import EvalTransform
from centernet2.images.stored_image import StoredImage
from centernet2.structures import Target, UserId

MAX_REPLACEMENTS = 10  # draws in place of one broken image


class Draw(NamedTuple):
    """One element of the stream of training images."""

    position: int
    image: int  # index in the data set
    first: int  # position of the first image of its batch


class LoadedImage(NamedTuple):
    """Result of a worker for one image; without an image if all replacements failed."""

    failures: list[str]
    image: Tensor | None = None
    target: Target | None = None
    image_index: int = -1  # in the data set; its id in the files is for messages
    image_id: UserId = -1
    size: tuple[int, int] = (0, 0)


class TrainImages(Dataset[LoadedImage]):
    """Images that are read and augmented, by draw."""

    def __init__(
        self,
        dataset: DetectionDataset,
        transform: TrainTransform,
        sampler: Sampler,
        mixing: Mixing | None = None,
    ) -> None:
        self.dataset, self.transform, self.mixing = dataset, transform, mixing
        self.weights, self.seed = sampler.weights, sampler.seed

    def __getitem__(self, draw: Draw) -> LoadedImage:
        generator = generator_of(self.seed, draw.position)
        transform = self.transform.for_batch(generator_of(self.seed, draw.first))
        failures: list[str] = []
        try:
            if self.mixing is None:
                transformed = partial(self._transformed, transform, generator)
                index, (image, target) = self._read(draw.image, transformed, generator, failures)
            else:
                index, sample = self._read(draw.image, self._decoded, generator, failures)
                another = partial(self._another, generator, failures)
                image, target = self.mixing(sample, another, transform, generator)
        except ImageError as error:
            return LoadedImage(failures or [str(error)])
        image_id, size = self.dataset.image_id(index), self.dataset.size(index)
        return LoadedImage(failures, image, target, index, image_id, size)

    def _read(
        self, index: int, read: Callable[[int], Sample], generator: Generator, failures: list[str]
    ) -> tuple[int, Sample]:
        """Read an image; a broken one is replaced by another draw from the distribution.

        One that is known to be unusable is not read again: it is no new failure.
        """
        unusable = self.dataset.unusable
        for _ in range(MAX_REPLACEMENTS + 1):
            if unusable is None or not unusable[index]:
                try:
                    return index, read(index)
                except ImageError as error:
                    failures.append(str(error))
            index = self._random_index(generator)
        raise ImageError(f"{self.dataset.name}: {MAX_REPLACEMENTS + 1} images drawn are broken")

    def _decoded(self, index: int) -> Sample:
        return read_indexed_image(self.dataset, index), self.dataset.target(index)

    def _transformed(self, transform: TrainTransform, generator: Generator, index: int) -> Sample:
        image = stored_image(self.dataset, index)
        return transform(image, self.dataset.target(index), generator)

    def _another(self, generator: Generator, failures: list[str]) -> Sample:
        """Draw another image to mix in."""
        return self._read(self._random_index(generator), self._decoded, generator, failures)[1]

    def _random_index(self, generator: Generator) -> int:
        return int(torch.multinomial(self.weights, 1, generator=generator))


class EvalImages(Dataset[LoadedImage]):
    """Images that are read and resized, by index in the data set."""

    def __init__(self, dataset: DetectionDataset, transform: EvalTransform) -> None:
        self.dataset, self.transform = dataset, transform

    def __getitem__(self, index: int) -> LoadedImage:
        try:
            image = self.transform(read_indexed_image(self.dataset, index))
        except ImageError as error:
            return LoadedImage([str(error)], None, None, index, self.dataset.image_id(index))
        image_id, size = self.dataset.image_id(index), self.dataset.size(index)
        return LoadedImage([], image, None, index, image_id, size)


def read_indexed_image(dataset: DetectionDataset, index: int) -> Tensor:  # uint8 [3, H, W]
    """Read an image of the data set; its size must agree with the annotations."""
    return stored_image(dataset, index).decode()


def stored_image(dataset: DetectionDataset, index: int) -> StoredImage:
    """Read the file of an image of the data set without decoding it."""
    path = dataset.image_path(index)
    return StoredImage(read_file(path), str(path), *dataset.size(index))


def generator_of(seed: int, position: int) -> Generator:
    """Return the random number generator of one draw."""
    state = np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state[0]))
