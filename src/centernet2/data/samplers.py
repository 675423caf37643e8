"""Samplers: endless streams of image indices that depend on the seed alone.

They do not depend on processes or steps. The loader cuts one global stream into batches and each
process takes its share. So the stream does not change with the number of processes, and training
can resume at any step.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from centernet2.data.dataset import DetectionDataset
from centernet2.structures import IntArray


class Sampler(ABC):
    """An endless stream of image indices, and the relative frequency of each image."""

    def __init__(self, weights: Tensor, *, seed: int) -> None:
        if not len(weights):
            raise ValueError("there is no image to sample from; check the data set")
        self.weights = weights  # [I], need not sum to 1
        self.seed = seed

    @abstractmethod
    def epoch(self, generator: Generator) -> Tensor:  # [about I] indices
        """Draw the next part of the stream."""

    def part(self, images: Tensor) -> "Sampler":
        """Return a sampler of this kind for some of the images, numbered from 0."""
        return type(self)(self.weights[images], seed=self.seed)

    def __iter__(self) -> Iterator[int]:
        generator = Generator().manual_seed(self.seed)
        while True:
            yield from self.epoch(generator).tolist()


class ShuffledSampler(Sampler):
    """Every image once in each epoch, in random order."""

    def __init__(self, size: int, *, seed: int) -> None:
        super().__init__(torch.ones(size), seed=seed)

    def part(self, images: Tensor) -> "ShuffledSampler":
        return ShuffledSampler(len(images), seed=self.seed)

    def epoch(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self.weights), generator=generator)


class RepeatFactorSampler(Sampler):
    """Image i weights[i] times in each epoch; fractions are rounded at random.

    LVIS, https://arxiv.org/abs/1908.03195, appendix B.2.
    """

    def epoch(self, generator: Generator) -> Tensor:
        whole = self.weights.floor()
        extra = torch.rand(len(whole), generator=generator) < self.weights - whole
        indices = torch.arange(len(whole)).repeat_interleave(whole.long() + extra)
        return indices[torch.randperm(len(indices), generator=generator)]


class WeightedSampler(Sampler):
    """Independent draws, image i with a probability proportional to weights[i]."""

    def epoch(self, generator: Generator) -> Tensor:
        return torch.multinomial(
            self.weights, len(self.weights), replacement=True, generator=generator
        )


class MixtureSampler(Sampler):
    """Images of several data sets at given ratios; each data set has its own sampler.

    Args:
        whole: sampler of all images.
        sources: [I] number of the data set of each image.
        ratios: how often each data set is drawn; they need not sum to 1.
    """

    def __init__(self, whole: Sampler, sources: Tensor, ratios: Sequence[float]) -> None:
        self.members = [(sources == source).nonzero().squeeze(1) for source in range(len(ratios))]
        self.parts = [whole.part(images) for images in self.members]
        self.ratios = torch.tensor(ratios)
        weights = torch.zeros(len(sources))
        for images, part, ratio in zip(self.members, self.parts, ratios, strict=True):
            weights[images] = ratio * part.weights / part.weights.sum()
        super().__init__(weights, seed=whole.seed)

    def epoch(self, generator: Generator) -> Tensor:
        drawn = torch.multinomial(
            self.ratios, len(self.weights), replacement=True, generator=generator
        )
        indices = torch.empty_like(drawn)
        for source, (images, part) in enumerate(zip(self.members, self.parts, strict=True)):
            places = (drawn == source).nonzero().squeeze(1)
            epochs = [images[:0]]
            while sum(map(len, epochs)) < len(places):
                epochs.append(images[part.epoch(generator)])
            indices[places] = torch.cat(epochs)[: len(places)]
        return indices


def repeat_factors(dataset: DetectionDataset, *, threshold: float, sqrt: bool) -> Tensor:  # [I]
    """Compute how often to repeat each image, so that rare classes appear more often.

    A class in a share f of the images has the factor max(1, threshold / f), or its square root. An
    image has the largest factor of its classes.
    """
    image, label, images_with = _classes_of_images(dataset)
    factor = threshold * len(dataset) / images_with[label]
    factors = np.ones(len(dataset))
    np.maximum.at(factors, image, np.sqrt(factor) if sqrt else factor)
    return torch.from_numpy(factors).float()


def class_aware_weights(dataset: DetectionDataset) -> Tensor:  # [I]
    """Compute weights of images with which every class is drawn equally often.

    The weight is the sum of 1 / (number of images with the class) over the classes of an image.
    """
    image, label, images_with = _classes_of_images(dataset)
    weights = np.bincount(image, 1.0 / images_with[label], minlength=len(dataset))
    return torch.from_numpy(weights).float()


def images_per_class(dataset: DetectionDataset) -> Tensor:  # [C]
    """Count the images in which each class appears."""
    return torch.from_numpy(_classes_of_images(dataset)[2])


def _classes_of_images(dataset: DetectionDataset) -> tuple[IntArray, IntArray, IntArray]:
    """Unique pairs of (image, class), and the number of images of each class [C]."""
    image, label = np.unique(np.stack([dataset.image_of_box, dataset.labels]), axis=1)
    return image, label, np.bincount(label, minlength=len(dataset.class_names))
