"""The few records that travel through the detector.

Shape letters used in every comment of this package: N images, C classes, L levels, H W height and width,
M locations, R RoIs or proposals, G ground-truth boxes, D detections.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypedDict, cast

from torch import Tensor
from typing_extensions import NotRequired

PADDING_SCORE = (
    -1.0
)  # of a row that stands for nothing, in tensors whose size does not depend on what is found
PADDING_COORDINATE = -(
    2.0**20
)  # all four of a box that stands for no object: empty, and far from every image


class ImageBatch(NamedTuple):
    """Images of different sizes, padded at the right and the bottom to one size."""

    tensor: Tensor  # [N, 3, H, W] float, normalised
    sizes: list[tuple[int, int]]  # (height, width) of each image before padding


class Proposals(NamedTuple):
    """The first stage's boxes of one image, best first; padding, if any, comes last."""

    boxes: Tensor  # [R, 4] xyxy, pixels of the model's input
    scores: Tensor  # [R] in 0..1: the probability that the box holds an object
    labels: Tensor  # [R] int64 in 0..C-1; all 0 where the stage knows no classes
    valid: Tensor  # [R] bool: the others are padding


class Target(TypedDict):
    """Ground truth of one image; boxes at PADDING_COORDINATE are no objects."""

    boxes: Tensor  # [G, 4] xyxy float, pixels of the model's input
    labels: Tensor  # [G] int64 in 0..C-1
    masks: NotRequired[Tensor]  # [G, H, W] bool
    # what masks are drawn from when the image has got its final size: for each object its polygons, [V, 2] x and y
    polygons: NotRequired[list[list[Tensor]]]


class Detections(TypedDict):
    """What the detector finds in one image, sorted by score."""

    boxes: Tensor  # [D, 4] xyxy float, pixels of the model's input
    scores: Tensor  # [D] in 0..1
    labels: Tensor  # [D] int64 in 0..C-1
    masks: NotRequired[Tensor]  # [D, H, W] bool
    box_masks: NotRequired[
        Tensor
    ]  # [D, M, M] probability of the object in each cell of a grid over its box


def select(detections: Detections, rows: Tensor) -> Detections:
    """Some of the detections: indices, or [D] bool."""
    return cast(Detections, {key: cast(Tensor, value)[rows] for key, value in detections.items()})


@dataclass(frozen=True)
class TestSize:
    """Size that an image is resized to before detection; the aspect ratio stays."""

    __test__: ClassVar[bool] = False  # its name means a test to pytest

    fit: Literal["shortest_edge", "square"] = "shortest_edge"
    length: int = 0  # of the shorter edge, or of the square; 0: images stay as they are
    max_size: int = 0  # limit of the longer edge; a square has none


@dataclass(frozen=True)
class ModelInfo:
    """What travels with a model's weights; its fields are keys of a checkpoint."""

    class_names: tuple[str, ...] = ()  # by label; empty: unknown
    score_thresholds: tuple[float, ...] = ()  # by label; empty: none were chosen
    test_size: TestSize = TestSize()
    config: str = ""  # the resolved configuration as YAML, in the reference's keys
    config_name: str = ""


class Inspection(NamedTuple):
    """What the stages of the detector say of one image."""

    detections: Detections
    proposals: Proposals  # more than the second stage is given
    num_used: int  # so many of them were given to the second stage
    object_scores: Tensor  # [D] of the proposal behind each detection
    class_scores: Tensor  # [D] of the second stage alone: how likely the object is of the class


class Batch(NamedTuple):
    """Images of one step with what belongs to them."""

    images: list[Tensor]  # uint8 [3, H, W] RGB, of different sizes
    targets: list[Target]  # empty in evaluation
    image_ids: list[int]
    sizes: list[tuple[int, int]]  # height and width of the image files
