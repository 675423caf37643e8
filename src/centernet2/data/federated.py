"""Which classes were annotated in which image, as in LVIS (arXiv 1908.03195)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from centernet2.data.sharing import SharedArrays, offsets_of
from centernet2.structures import IntArray


@dataclass(frozen=True, eq=False, kw_only=True)
class FederatedLabels(SharedArrays):
    """The labels of each of I images whose objects are all, or not all, annotated.

    A detection of a class is false only where all objects of the class were annotated. The labels
    of image i are rows offsets[i] to offsets[i + 1].
    """

    negative: npt.NDArray[np.int32]  # labels without an object in the image
    negative_offsets: IntArray  # [I + 1]
    not_exhaustive: npt.NDArray[np.int32]  # labels of which not every object was annotated
    not_exhaustive_offsets: IntArray  # [I + 1]

    def negative_labels(self, i: int) -> list[int]:
        """Labels that image i certainly has no object of."""
        first, end = self.negative_offsets[i : i + 2]
        labels: list[int] = self.negative[first:end].tolist()
        return labels

    def not_exhaustive_labels(self, i: int) -> list[int]:
        """Labels of which image i may have more objects than were annotated."""
        first, end = self.not_exhaustive_offsets[i : i + 2]
        labels: list[int] = self.not_exhaustive[first:end].tolist()
        return labels

    def take(self, indices: npt.NDArray[np.integer[Any]]) -> "FederatedLabels":
        """Select images by indices, in this order."""
        images = indices.tolist()
        return pack_federated(
            [self.negative_labels(i) for i in images],
            [self.not_exhaustive_labels(i) for i in images],
        )

    def relabeled(self, label: npt.NDArray[np.integer[Any]]) -> "FederatedLabels":
        """Replace each label by label[it]; leave it out where that is negative."""
        images = range(len(self.negative_offsets) - 1)

        def replaced(labels: list[int]) -> list[int]:
            new: list[int] = label[labels].tolist() if labels else []
            return [each for each in new if each >= 0]

        return pack_federated(
            [replaced(self.negative_labels(i)) for i in images],
            [replaced(self.not_exhaustive_labels(i)) for i in images],
        )


def pack_federated(
    negative: Sequence[Sequence[int]], not_exhaustive: Sequence[Sequence[int]]
) -> FederatedLabels:
    """Pack the two lists of labels of each image."""
    return FederatedLabels(
        negative=_joined(negative),
        negative_offsets=offsets_of([len(labels) for labels in negative]),
        not_exhaustive=_joined(not_exhaustive),
        not_exhaustive_offsets=offsets_of([len(labels) for labels in not_exhaustive]),
    )


def join_federated(parts: Sequence[FederatedLabels]) -> FederatedLabels:
    """Concatenate the images of several data sets with the same labels."""
    return FederatedLabels(
        negative=np.concatenate([part.negative for part in parts]),
        negative_offsets=_join_offsets([part.negative_offsets for part in parts]),
        not_exhaustive=np.concatenate([part.not_exhaustive for part in parts]),
        not_exhaustive_offsets=_join_offsets([part.not_exhaustive_offsets for part in parts]),
    )


def _join_offsets(parts: Sequence[IntArray]) -> IntArray:
    return offsets_of(np.concatenate([np.diff(part) for part in parts]))


def _joined(lists: Sequence[Sequence[int]]) -> npt.NDArray[np.int32]:
    return np.array([label for labels in lists for label in labels], dtype=np.int32)
