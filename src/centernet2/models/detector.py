"""The detector: an image flows through backbone, neck, first stage and second stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from centernet2.kernels.capabilities import not_compiled
from centernet2.models.centernet import CenterNet
from centernet2.models.roi_heads.cascade import CascadeRoIHeads
from centernet2.ops.boxes import Size, clip_boxes, nonempty
from centernet2.ops.tensors import constant, lower_precision
from centernet2.structures import (
    PADDING_COORDINATE,
    Detections,
    ImageBatch,
    ModelInfo,
    Proposals,
    Target,
)

OBJECTS = 128  # per image: nearly every image of COCO has fewer


@dataclass(frozen=True)
class PreprocessOptions:
    """What the weights expect of images."""

    pixel_mean: tuple[float, ...] = (103.53, 116.28, 123.675)
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    format: str = "BGR"


class Preprocess(nn.Module):
    """Brings images into the form that the weights expect.

    Args:
        pixel_mean, pixel_std: of the three channels in the order of `format`.
        format: "RGB" or "BGR", the channel order that the weights expect.
        size_divisibility: images are padded to a multiple of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        format: str,
        size_divisibility: int,
    ) -> None:
        super().__init__()
        if format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is '{format}'; choose 'RGB' or 'BGR'")
        self.register_buffer("mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        self.reverses_channels = format == "BGR"
        self.size_divisibility = size_divisibility
        self.fixed_sizes: Sequence[
            tuple[int, int]
        ] = ()  # (height, width) to pad to, if one of them is large enough

    def forward(self, images: Sequence[Tensor]) -> ImageBatch:
        """Normalises images [3, h, w] RGB in 0..255 and pads them with zeros to one size."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = self._padded_size(*(max(side) for side in zip(*sizes, strict=True)))
        batch = self.mean.new_zeros(len(images), 3, height, width)
        for row, image, (h, w) in zip(batch, images, sizes, strict=True):
            image = image.to(row.device, non_blocking=True)
            image = image.flip(0) if self.reverses_channels else image
            row[:, :h, :w] = (image - self.mean) / self.std
        return ImageBatch(batch, sizes)

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        fitting = [(h, w) for h, w in self.fixed_sizes if h >= height and w >= width]
        if fitting:
            return min(fitting, key=math.prod)
        multiple = self.size_divisibility
        return -(-height // multiple) * multiple, -(-width // multiple) * multiple


class Detector(nn.Module):
    """CenterNet2 (arXiv 2103.07461): p(class, object) = p(class | object) p(object).

    Args:
        preprocess: uint8 images -> one normalised batch.
        backbone, neck: batch -> feature maps by name -> feature pyramid by name.
        proposal_generator: pyramid -> where objects are and how likely.
        roi_heads: pyramid and proposals -> what they are. None makes a one-stage detector.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        backbone: nn.Module,
        neck: nn.Module,
        proposal_generator: CenterNet,
        roi_heads: CascadeRoIHeads | None,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.backbone = backbone
        self.neck = neck
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.static_shapes = False  # see `keep_shapes`
        self.inference_dtype = (
            torch.float32
        )  # of the matrix products that find objects; training chooses its own
        self.info = ModelInfo()  # for those who use or save the model; never read in here

    # a compiled program begins behind what depends on the images' sizes
    @not_compiled(recursive=False)
    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> list[Detections] | dict[str, Tensor]:
        """Detections of images [3, h, w] (uint8 RGB), boxes in their pixels; in training mode, the losses by name."""
        batch, sizes, targets = self._prepare(images, targets)
        dtype = torch.float32 if self.training else self.inference_dtype  # training has its own
        with lower_precision(batch.tensor, dtype):
            return self._detect(batch.tensor, sizes, targets)

    def _detect(
        self, x: Tensor, sizes: Sequence[Size], targets: Sequence[Target] | None
    ) -> list[Detections] | dict[str, Tensor]:
        features = self.neck(self.backbone(x))
        padded = self.training or self.static_shapes
        proposals, losses, _ = self.proposal_generator(features, sizes, targets, padded=padded)
        if self.roi_heads is None:
            detections = [
                _as_detections(p, size) for p, size in zip(proposals, sizes, strict=False)
            ]
        else:
            detections, roi_losses = self.roi_heads(features, proposals, sizes, targets)
            losses |= roi_losses
        return losses if self.training else detections

    def keep_shapes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Gives every tensor a size that no image's content decides, for devices and compilers that plan ahead.

        Batches are padded to the first of `sizes` (height, width) that is large enough, objects to a multiple of
        OBJECTS, and the numbers of proposals, sampled regions and candidates for detections stay the same.
        """
        self.static_shapes = True
        self.preprocess.fixed_sizes = sorted(sizes, key=math.prod)
        if self.roi_heads is not None:
            self.roi_heads.static_shapes = True

    @not_compiled(recursive=True)
    def _prepare(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None
    ) -> tuple[ImageBatch, Sequence[Size], Sequence[Target] | None]:
        checked = self._check_targets(images, targets) if self.training else targets
        batch = self.preprocess(images)
        if not (self.static_shapes and checked is not None):
            return batch, batch.sizes, checked
        height, width = batch.tensor.shape[2:]
        sizes = constant(batch.sizes, batch.tensor)
        return batch, list(sizes), [pad_target(t, (height, width)) for t in checked]

    def _check_targets(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None
    ) -> list[Target]:
        if targets is None or len(targets) != len(images):
            given = "none" if targets is None else str(len(targets))
            raise ValueError(
                f"training needs one target per image: {len(images)} images, {given} given"
            )
        device = self.preprocess.mean.device
        checked: list[Target] = []
        for image, t in zip(images, targets, strict=True):
            boxes, labels = (
                t["boxes"].to(device, torch.float32).reshape(-1, 4),
                t["labels"].to(device, torch.int64),
            )
            checked.append({"boxes": boxes, "labels": labels})
            if self.roi_heads is not None and self.roi_heads.mask_head is not None:
                checked[-1]["masks"] = _masks_of(t, image).to(device, torch.bool)
        return checked


def pad_target(target: Target, size: tuple[int, int]) -> Target:
    """The ground truth with objects that are none up to a multiple of OBJECTS, its masks of `size` (height, width)."""
    missing = -len(target["boxes"]) % OBJECTS if len(target["boxes"]) else OBJECTS
    padded: Target = {
        "boxes": pad(target["boxes"], (0, 0, 0, missing), value=PADDING_COORDINATE),
        "labels": pad(target["labels"], (0, missing)),
    }
    if "masks" in target:
        height, width = target["masks"].shape[1:]
        padded["masks"] = pad(
            target["masks"], (0, size[1] - width, 0, size[0] - height, 0, missing)
        )
    return padded


def _masks_of(target: Target, image: Tensor) -> Tensor:  # [G, H, W]
    expected = (len(target["boxes"]), *image.shape[1:])
    if "masks" not in target:
        raise ValueError(
            f"the model has a mask head: training needs 'masks' {list(expected)} in every target"
        )
    if target["masks"].shape != expected:
        raise ValueError(
            f"masks of an image are {list(expected)}, not {list(target['masks'].shape)}"
        )
    return target["masks"]


def _as_detections(proposals: Proposals, size: Size) -> Detections:
    """The first stage's boxes as a one-stage detector's result, cut at the image's border."""
    boxes = clip_boxes(proposals.boxes, size)
    keep = nonempty(boxes) & proposals.valid
    return {
        "boxes": boxes[keep],
        "scores": proposals.scores[keep],
        "labels": proposals.labels[keep],
    }
