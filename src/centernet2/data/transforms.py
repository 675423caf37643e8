"""Augmentation and test-time resizing of uint8 images; boxes and masks follow.

A transform holds its numbers; every random number comes from the generator of the call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from centernet2.data.annotation_masks import draw_objects
from centernet2.data.image import StoredImage
from centernet2.structures import Target, TestSize

Sample = tuple[Tensor, Target]  # uint8 [3, H, W] and its objects
Transform = Callable[[Tensor, Target, Generator], Sample]


class EvalTransform(Protocol):
    """Brings an image to the size that a detector wants."""

    def __call__(self, image: Tensor) -> Tensor: ...

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        ...


EMPTY = 1e-5  # pixels: a narrower box is empty
GREY = 114  # what an image is filled up with, as in YOLO's and copy-paste's training


@dataclass(frozen=True, kw_only=True)
class TrainTransform:
    """Steps one after the other; then masks are drawn, boxes clipped, and objects with nothing left are dropped.

    A stored image is decoded by its first step if that resizes, so that it need not be decoded in full.
    """

    steps: tuple[Transform, ...]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        steps = self.steps
        if isinstance(image, StoredImage):
            if steps and isinstance(
                steps[0], ResizeShortestEdge | EfficientDetResizeCrop | LargeScaleJitter
            ):
                image, target = steps[0](image, target, generator)
                steps = steps[1:]
            else:
                image = image.whole()
        for step in steps:
            image, target = step(image, target, generator)
        return image.contiguous(), clip_and_drop_empty(
            target, height=image.shape[1], width=image.shape[2]
        )


@dataclass(frozen=True)
class AugmentationOptions:
    """Sizes and random changes of images."""

    custom_aug: str = ""
    min_size_train: tuple[int, ...] = (800,)
    min_size_train_sampling: str = "choice"
    max_size_train: int = 1333
    min_size_test: int = 800
    max_size_test: int = 1333
    mosaic: float = 0.0
    mosaic_size: int = 640
    mixup: float = 0.0
    copy_paste: float = 0.0
    photometric_distortion: bool = False
    random_flip: str = "horizontal"
    crop_enabled: bool = False
    crop_type: str = "relative_range"
    crop_size: tuple[float, ...] = (0.9, 0.9)
    train_size: int = 640
    scale_range: tuple[float, ...] = (0.1, 2.0)
    test_input_type: str = "default"
    test_size: int = 640
    static_shapes: bool = False
    mask_format: str = "polygon"


@dataclass(frozen=True, kw_only=True)
class ResizeShortestEdge:
    """Give the shorter edge a random length, unless the longer one would exceed its limit."""

    lengths: tuple[int, ...]  # to choose from, or the two ends of a range
    max_size: int
    sampling: Literal["choice", "range"]

    def __post_init__(self) -> None:
        if self.sampling == "range" and len(self.lengths) != 2:
            raise ValueError(
                f"a range of shortest edges needs two lengths (INPUT.MIN_SIZE_TRAIN), not {self.lengths}"
            )

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        if self.sampling == "range":
            length = random_integer(self.lengths[0], self.lengths[1], generator)
        else:
            length = self.lengths[random_integer(0, len(self.lengths) - 1, generator)]
        height, width = shortest_edge_size(*image.shape[1:], length=length, max_size=self.max_size)
        scale = (width / image.shape[2], height / image.shape[1])
        return resize_image(image, height, width), resize_target(target, height, width, scale=scale)


@dataclass(frozen=True, kw_only=True)
class EfficientDetResizeCrop:
    """Fit the image into a square of random scale, then cut out a random part that is at most the square of scale 1.

    EfficientDet, https://arxiv.org/abs/1911.09070, section 5.1.
    """

    size: int
    scale_range: tuple[float, float]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        scaled_size = random_number(*self.scale_range, generator) * self.size
        height, width, scale = fit_square(*image.shape[1:], size=scaled_size)
        image, target = (
            resize_image(image, height, width),
            resize_target(target, height, width, scale=(scale, scale)),
        )
        top = int(max(0, height - self.size) * random_number(0, 1, generator))
        left = int(max(0, width - self.size) * random_number(0, 1, generator))
        box = (top, left, min(self.size, height), min(self.size, width))
        return crop_image(image, box), crop_target(target, box)


@dataclass(frozen=True, kw_only=True)
class LargeScaleJitter:
    """The same crop, filled up with grey to the whole square (arXiv 2012.07177, section 3)."""

    size: int
    scale_range: tuple[float, float]

    def __call__(self, image: Tensor | StoredImage, target: Target, generator: Generator) -> Sample:
        image, target = EfficientDetResizeCrop(size=self.size, scale_range=self.scale_range)(
            image, target, generator
        )
        bottom, right = self.size - image.shape[1], self.size - image.shape[2]
        if "masks" in target:
            target = {**target, "masks": pad(target["masks"], (0, right, 0, bottom))}
        return pad(image, (0, right, 0, bottom), value=GREY), target


@dataclass(frozen=True, kw_only=True)
class PhotometricDistortion:
    """Random brightness, contrast, saturation and hue, each in half of the images (SSD, arXiv 1512.02325, 2.2)."""

    brightness: float = 0.125  # greatest change, as a share of white
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.05  # greatest turn, as a share of the circle
    probability: float = 0.5

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        def happens() -> bool:
            return random_number(0, 1, generator) < self.probability

        if happens():
            change = 255 * random_number(-self.brightness, self.brightness, generator)
            image = (image.float() + change).clamp(0, 255).round().to(torch.uint8)
        contrast_first = happens()
        if contrast_first and happens():
            image = F.adjust_contrast(image, random_number(*self.contrast, generator))
        if happens():
            image = F.adjust_saturation(image, random_number(*self.saturation, generator))
        if happens():
            image = F.adjust_hue(image, random_number(-self.hue, self.hue, generator))
        if not contrast_first and happens():
            image = F.adjust_contrast(image, random_number(*self.contrast, generator))
        return image, target


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """Cut out a random part of the image: `size` is (height, width), or (least, most) for absolute_range."""

    kind: Literal["relative", "relative_range", "absolute", "absolute_range"]
    size: tuple[float, float]

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        height, width = self._crop_size(image.shape[1], image.shape[2], generator)
        top = random_integer(0, image.shape[1] - height, generator)
        left = random_integer(0, image.shape[2] - width, generator)
        box = (top, left, height, width)
        return crop_image(image, box), crop_target(target, box)

    def _crop_size(self, height: int, width: int, generator: Generator) -> tuple[int, int]:
        first, second = self.size
        if self.kind == "absolute":
            return min(int(first), height), min(int(second), width)
        if self.kind == "absolute_range":
            least, most = int(first), int(second)
            crop_height = random_integer(min(height, least), min(height, most), generator)
            return crop_height, random_integer(min(width, least), min(width, most), generator)
        if self.kind == "relative_range":
            first = random_number(first, 1, generator)
            second = random_number(second, 1, generator)
        return max(1, int(height * first + 0.5)), max(1, int(width * second + 0.5))


@dataclass(frozen=True, kw_only=True)
class RandomFlip:
    """Mirror the image."""

    direction: Literal["horizontal", "vertical"]
    probability: float = 0.5

    def __call__(self, image: Tensor, target: Target, generator: Generator) -> Sample:
        if random_number(0, 1, generator) >= self.probability:
            return image, target
        axis: Literal[-1, -2] = -1 if self.direction == "horizontal" else -2
        return image.flip(axis), flip_target(target, image.shape[axis], axis=axis)


@dataclass(frozen=True, kw_only=True)
class FitShortestEdge:
    """Test time: the shorter edge gets this length, unless the longer one would exceed its limit; 0 changes nothing."""

    length: int
    max_size: int

    def __call__(self, image: Tensor) -> Tensor:
        return (
            image if self.length == 0 else resize_image(image, *self.output_size(*image.shape[1:]))
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        if self.length == 0:
            return height, width
        return shortest_edge_size(height, width, length=self.length, max_size=self.max_size)


@dataclass(frozen=True, kw_only=True)
class FitSquare:
    """Test time: the longer edge gets this length."""

    size: int

    def __call__(self, image: Tensor) -> Tensor:
        return resize_image(image, *self.output_size(*image.shape[1:]))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return fit_square(height, width, size=self.size)[:2]


def make_test_resize(size: TestSize) -> EvalTransform:
    """Make the resize that brings an image to its test size."""
    if size.fit == "square":
        return FitSquare(size=size.length)
    return FitShortestEdge(length=size.length, max_size=size.max_size)


def shortest_edge_size(height: int, width: int, *, length: int, max_size: int) -> tuple[int, int]:
    """Height and width after the shorter edge got its length, or the longer one its limit."""
    scale = length / min(height, width)
    new_height, new_width = (length, scale * width) if height < width else (scale * height, length)
    longest = max(new_height, new_width)
    if longest > max_size:
        new_height, new_width = new_height * (max_size / longest), new_width * (max_size / longest)
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def fit_square(height: int, width: int, *, size: float) -> tuple[int, int, float]:
    """Height and width of the image inside a square, and the factor between."""
    scale = min(size / height, size / width)
    return max(1, int(height * scale)), max(1, int(width * scale)), scale


def resize_image(
    image: Tensor | StoredImage, height: int, width: int
) -> Tensor:  # [3, height, width]
    if isinstance(image, StoredImage):
        image = image.for_size(height, width)
    resized: Tensor = F.resize(image, [height, width], InterpolationMode.BILINEAR, antialias=True)
    return resized


def resize_target(target: Target, height: int, width: int, *, scale: tuple[float, float]) -> Target:
    """Scale boxes and polygons by (x, y) factors, and masks to the size of their image."""
    moved: Target = {**target, "boxes": target["boxes"] * target["boxes"].new_tensor(scale * 2)}
    if "masks" in target:
        moved["masks"] = F.resize(target["masks"], [height, width], InterpolationMode.NEAREST_EXACT)
    return move_polygons(moved, scale=scale)


def move_polygons(
    target: Target,
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Target:
    """Put the points of polygons at point * scale + shift, both (x, y)."""
    if "polygons" not in target:
        return target
    by, to = torch.tensor(scale, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64)
    return {
        **target,
        "polygons": [[part * by + to for part in polygons] for polygons in target["polygons"]],
    }


def crop_image(
    image: Tensor, box: tuple[int, int, int, int]
) -> Tensor:  # (top, left, height, width)
    top, left, height, width = box
    return image[:, top : top + height, left : left + width]


def crop_target(target: Target, box: tuple[int, int, int, int]) -> Target:
    """Move boxes into the crop; what sticks out is clipped at the end, once."""
    top, left, _, _ = box
    moved: Target = {
        **target,
        "boxes": target["boxes"] - target["boxes"].new_tensor([left, top, left, top]),
    }
    if "masks" in target:
        moved["masks"] = crop_image(target["masks"], box)
    return move_polygons(moved, shift=(-left, -top))


def flip_target(target: Target, length: int, *, axis: Literal[-1, -2]) -> Target:
    """Mirror boxes, polygons and masks along an axis of the image that is this long."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    if axis == -1:
        x1, x2 = length - x2, length - x1
    else:
        y1, y2 = length - y2, length - y1
    moved: Target = {**target, "boxes": torch.stack([x1, y1, x2, y2], dim=1)}
    if "masks" in target:
        moved["masks"] = target["masks"].flip(axis)
    if axis == -1:
        return move_polygons(moved, scale=(-1, 1), shift=(length, 0))
    return move_polygons(moved, scale=(1, -1), shift=(0, length))


def clip_and_drop_empty(target: Target, *, height: int, width: int) -> Target:
    """Draw polygons, cut boxes at the border of the image; objects with nothing left inside are dropped."""
    boxes = clip_boxes_to(target["boxes"], height, width)  # [G, 4]
    kept = (boxes[:, 2:] - boxes[:, :2] > EMPTY).all(dim=1)
    masks = (
        draw_objects(target["polygons"], (height, width))
        if "polygons" in target
        else target.get("masks")
    )
    if masks is not None:
        kept &= masks.flatten(1).any(dim=1)
        return {"boxes": boxes[kept], "labels": target["labels"][kept], "masks": masks[kept]}
    return {"boxes": boxes[kept], "labels": target["labels"][kept]}


def clip_boxes_to(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes [G, 4] cut at the border of the image."""
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def random_number(low: float, high: float, generator: Generator) -> float:
    """Uniform in [low, high)."""
    return low + (high - low) * torch.rand((), dtype=torch.float64, generator=generator).item()


def random_integer(low: int, high: int, generator: Generator) -> int:
    """Uniform from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
