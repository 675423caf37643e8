"""The records that pass through the detector, and the metadata of a model.

Shape letters of the comments in this package: N images, C classes, L levels, H W height and width,
M locations, R RoIs or proposals, G ground-truth boxes, D detections.

Records of fixed size are padded: `valid` tells their rows from padding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NotRequired

if TYPE_CHECKING:  # exported files are run without PyTorch
    from torch import Tensor, nn

StrPath = str | os.PathLike[str]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Pixels = NDArray[np.uint8]  # an image, [H, W, 3] RGB
UserId = int | str  # of an image or a category, in the user's files
UNKNOWN_CLASS = "unknown"  # of objects of none of the classes


class ImageBatch(NamedTuple):
    """Images of different sizes, padded at the right and the bottom to one size."""

    tensor: Tensor  # [N, 3, H, W] float, normalized
    sizes: list[tuple[int, int]]  # (height, width) of each image before padding


class Proposals(NamedTuple):
    """Boxes of one image from the first stage, best first, padding last."""

    boxes: Tensor  # [R, 4] xyxy, pixels of the model's input
    scores: Tensor  # [R] in 0..1, see `Decoder`
    labels: Tensor  # [R] int64 in 0..C-1; all 0 where the stage is class-agnostic
    valid: Tensor  # [R] bool: the others are padding

    def without_padding(self) -> Proposals:
        """Return the valid rows; this waits for the device."""
        rows = self.valid.nonzero().squeeze(1)
        return Proposals(*(column[rows] for column in self))


class Target(TypedDict):
    """Ground truth of one image."""

    boxes: Tensor  # [G, 4] xyxy float, pixels of the model's input
    labels: Tensor  # [G] int64 in 0..C-1
    masks: NotRequired[Tensor]  # [G, H, W] bool
    # polygons of each object, [V, 2] x and y: masks are drawn from them at the final size
    polygons: NotRequired[list[list[Tensor]]]
    valid: NotRequired[Tensor]  # [G] bool, in padded targets: the others are padding
    # if some classes were not labelled in this image
    unknown: NotRequired[Tensor]  # [C] bool: these classes, of which there may be objects
    uncertain: NotRequired[Tensor]  # [G] bool: perhaps an object; neither object nor background


def certain_objects(target: Target) -> Tensor:  # [G] bool
    """Return which objects are certain; padding is not."""
    every = target["labels"].reshape(-1) >= 0
    certain = target.get("valid", every)
    return certain & ~target["uncertain"] if "uncertain" in target else certain


class Detections(TypedDict):
    """Detections of one image, sorted by score."""

    boxes: Tensor  # [D, 4] xyxy float, pixels of the model's input or of the original image
    scores: Tensor  # [D] in 0..1
    labels: Tensor  # [D] int64 in 0..C-1
    masks: NotRequired[Tensor]  # [D, H, W] bool
    box_masks: NotRequired[Tensor]  # [D, M, M] mask probability in a grid over the box
    objectness: NotRequired[Tensor]  # [D] score of the proposal behind each detection
    class_probability: NotRequired[Tensor]  # [D] of the second stage alone
    embeddings: NotRequired[Tensor]  # [D, channels] RoI features
    ids: NotRequired[Tensor]  # [D] int64, of the tracked objects of a film


DetectionArrays = dict[str, NDArray[Any]]  # the columns of Detections, by name


class RunLengths(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]  # height, width
    counts: str


def select(detections: Detections, rows: Tensor) -> Detections:
    """Select detections by indices or by [D] bool."""
    return cast(Detections, {key: cast("Tensor", value)[rows] for key, value in detections.items()})


@dataclass(frozen=True)
class TestSize:
    """Size that an image is resized to before detection; the aspect ratio stays."""

    __test__: ClassVar[bool] = False  # pytest would take it for a test by its name

    fit: Literal["shortest_edge", "square"] = "shortest_edge"
    length: int = 0  # of the shorter edge, or of the square; 0: images stay as they are
    max_size: int = 0  # limit of the longer edge; a square has none


@dataclass(frozen=True)
class ScoreCalibration:
    """Map from scores to probabilities: sigmoid(logit(score) / temperature + offset)."""

    temperatures: tuple[float, ...]  # by label, of the scores of detections
    offsets: tuple[float, ...]
    object_temperature: float = 1.0  # of the scores of proposals
    object_offset: float = 0.0
    # novelty and objectness from which an object is of none of the classes; None: not known
    unknown_from: tuple[float, float] | None = None

    def are_unknown(self, novelty: Any, objectness: Any) -> Any:  # [U] bool
        """Return which objects are of none of the classes, of arrays or tensors [U]."""
        least_novelty, least_objectness = self.unknown_from or (inf, inf)
        return (novelty >= least_novelty) & (objectness >= least_objectness)


@dataclass(frozen=True)
class ModelInfo:
    """Metadata of a model, saved with its weights under these keys."""

    class_names: tuple[str, ...] = ()  # by label; empty: unknown
    score_thresholds: tuple[float, ...] = ()  # by label; empty: not chosen
    calibration: ScoreCalibration | None = None  # None: scores are as the network gives them
    test_size: TestSize = TestSize()
    config: str = ""  # the resolved config as YAML, in the reference's keys
    config_name: str = ""

    def abstaining(self, num_classes: int) -> tuple[ModelInfo, ScoreCalibration]:
        """Return the metadata of the detector if it abstains, with one class more.

        Returns:
            The metadata; the calibration, which says from when an object is unknown.

        Raises:
            ValueError: it was not calibrated on known objects.
        """
        calibration = self.calibration
        if calibration is None or calibration.unknown_from is None:
            raise ValueError(
                "the weights do not say from when an object is of none of the classes; "
                "`centernet2 threshold` on them first, with validation data"
            )
        names = self.class_names or tuple(map(str, range(num_classes)))
        thresholds = self.score_thresholds and (*self.score_thresholds, calibration.unknown_from[1])
        named = replace(self, class_names=(*names, UNKNOWN_CLASS), score_thresholds=thresholds)
        return named, calibration


class ImageDetector(Protocol):
    """Interface of detectors with or without test-time augmentation."""

    info: ModelInfo

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""

    def modules(self) -> Iterator[nn.Module]:
        """Return all modules, the model itself among them."""

    def eval(self) -> object:
        """Set evaluation mode."""


class UnknownObjects(NamedTuple):
    """One box for each object of an image, and whether it may be of no class."""

    boxes: Tensor  # [U, 4] xyxy float, pixels of the model's input
    novelty: Tensor  # [U] entropy of the class probabilities
    objectness: Tensor  # [U] of the first stage
    labels: Tensor  # [U] int64, of the most probable class


class Inspection(NamedTuple):
    """What both stages of the detector compute for one image."""

    detections: Detections
    proposals: Proposals  # may be more than enter the second stage
    num_used: int  # the first so many proposals enter the second stage
    objectness: Tensor  # [D] score of the proposal behind each detection
    class_probability: Tensor  # [D] class probability of the second stage alone
    unknown: UnknownObjects | None = None  # if it was asked for

    def scored(self) -> Detections:
        """Return the detections with the scores of both stages."""
        return {
            **self.detections,
            "objectness": self.objectness,
            "class_probability": self.class_probability,
        }


class Batch(NamedTuple):
    """Images of one step with their targets and sizes."""

    images: list[Tensor]  # uint8 [3, H, W] RGB, of different sizes
    targets: list[Target]  # empty in evaluation
    indices: list[int]  # of the images in the data set
    image_ids: list[int | str]  # in its files, for messages
    sizes: list[tuple[int, int]]  # height and width of the image files
