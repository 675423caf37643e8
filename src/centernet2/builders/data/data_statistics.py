"""Statistics of a data set that a training plan depends on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centernet2.data import DetectionDataset
from centernet2.spelling import counted

SMALL_SHARE = 0.1  # of the objects
TYPICAL, LARGE = 50, 95  # percentiles
LEAST_CHARACTERS = 5  # classes of one character; fewer may be numbers or kinds of anything
SIDES = (  # without the endings, which differ; each name counts only beside its opposite
    ("left", "right"), ("左", "右"), ("왼", "오른"), ("лев", "прав"), ("link", "recht"),
    ("gauche", "droit"), ("gauche", "droite"), ("izquierd", "derech"), ("esquerd", "direit"),
    ("sinistr", "destr"),
)  # fmt: skip
ENGLISH = {"left", "right"}  # words that count alone


@dataclass(frozen=True)
class DataStatistics:
    """Sizes and numbers of images and objects; lengths in pixels of the files."""

    images: int
    objects: int
    classes: int
    short_side: float  # the median
    aspect_ratio: float  # longer by shorter side, which 95 % of the images do not exceed
    small_object: float  # square root of an area; a tenth of the objects is smaller
    most_objects: int  # in one image
    sided: tuple[str, ...] = ()  # classes that a mirrored image shows wrong

    @property
    def small_share(self) -> float:
        """Side of a small object, as a share of the shorter side of an image."""
        return self.small_object / self.short_side

    def sentence(self) -> str:
        """Describe the data set."""
        return (
            f"{counted(self.images, 'image')} with {counted(self.objects, 'object')} of "
            f"{counted(self.classes, 'class')}; the shorter side is typically "
            f"{self.short_side:.0f} pixels, and a tenth of the objects, all classes counting "
            f"equally, is smaller than {self.small_object:.0f} x {self.small_object:.0f}"
        )


def data_statistics(dataset: DetectionDataset) -> DataStatistics:
    """Compute the statistics of the training images."""
    short = np.minimum(dataset.heights, dataset.widths)
    long = np.maximum(dataset.heights, dataset.widths)
    single = ~dataset.crowd
    sides, labels = np.sqrt(dataset.xywh[:, 2] * dataset.xywh[:, 3])[single], dataset.labels[single]
    order = np.argsort(sides)
    weights = (1 / np.bincount(labels)[labels])[order]  # equal sums for all classes, as in AP
    small = np.searchsorted(np.cumsum(weights), SMALL_SHARE * weights.sum())
    return DataStatistics(
        images=len(dataset),
        objects=len(sides),
        classes=len(dataset.class_names),
        short_side=float(np.percentile(short, TYPICAL)),
        aspect_ratio=float(np.percentile(long / short, LARGE)),
        small_object=float(sides[order[small]]),
        most_objects=int(np.diff(dataset.offsets).max()),
        sided=sided_classes(dataset.class_names),
    )


def sided_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Return classes that mirroring makes wrong: left and right, digits and letters."""
    characters = [name for name in names if re.fullmatch("[0-9A-Za-z]", name)]
    known = {name.lower() for name in names}
    return (
        *(characters if len(characters) >= LEAST_CHARACTERS else ()),
        *(name for name in names if ENGLISH & _words(name) or known & _opposites(name.lower())),
    )


def _opposites(name: str) -> set[str]:
    """Return what the other side of a name could be called: of 左转 it is 右转."""
    both = [*SIDES, *(pair[::-1] for pair in SIDES)]
    return {name.replace(side, other) for side, other in both if side in name}


def _words(name: str) -> set[str]:
    """Split a name such as turnLeft or ARROW_LEFT into words, in lower case."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}
