"""The detector: an image flows through backbone, neck, first stage and second stage."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from centernet2.models.centernet.centernet import CenterNet
from centernet2.models.roi_heads.cascade import CascadeRoIHeads
from centernet2.ops.boxes import clip_boxes, nonempty
from centernet2.structures import Detections, ImageBatch, Proposals, Target


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
        self, *, pixel_mean: Sequence[float], pixel_std: Sequence[float], format: str, size_divisibility: int
    ) -> None:
        super().__init__()
        if format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is '{format}'; choose 'RGB' or 'BGR'")
        self.register_buffer("mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        self.reverses_channels = format == "BGR"
        self.size_divisibility = size_divisibility

    def forward(self, images: Sequence[Tensor]) -> ImageBatch:
        """Normalises images [3, h, w] RGB in 0..255 and pads them with zeros to one size."""
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        multiple = self.size_divisibility
        height, width = (-(-max(side) // multiple) * multiple for side in zip(*sizes, strict=True))
        batch = self.mean.new_zeros(len(images), 3, height, width)
        for row, image, (h, w) in zip(batch, images, sizes, strict=True):
            image = image.to(row.device, non_blocking=True)
            image = image.flip(0) if self.reverses_channels else image
            row[:, :h, :w] = (image - self.mean) / self.std
        return ImageBatch(batch, sizes)


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
        self.class_names: tuple[str, ...] = ()  # by label, where they are known
        self.score_thresholds: tuple[float, ...] = ()  # by label, where they were chosen; never applied in here
        self.resize: Callable[[Tensor], Tensor] | None = None  # brings an image to the size that it was trained for
        self.settings: object = None  # what it was built from, for those who evaluate or save it; never read in here

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> list[Detections] | dict[str, Tensor]:
        """Detections of images [3, h, w] (uint8 RGB), boxes in their pixels; in training mode, the losses by name."""
        if self.training:
            targets = self._check_targets(images, targets)
        batch = self.preprocess(images)
        features = self.neck(self.backbone(batch.tensor))
        proposals, losses = self.proposal_generator(features, batch.sizes, targets, padded=self.training)
        if self.roi_heads is None:
            detections = [_as_detections(p, size) for p, size in zip(proposals, batch.sizes, strict=False)]
        else:
            detections, roi_losses = self.roi_heads(features, proposals, batch.sizes, targets)
            losses |= roi_losses
        return losses if self.training else detections

    def _check_targets(self, images: Sequence[Tensor], targets: Sequence[Target] | None) -> list[Target]:
        if targets is None or len(targets) != len(images):
            given = "none" if targets is None else str(len(targets))
            raise ValueError(f"training needs one target per image: {len(images)} images, {given} given")
        device = self.preprocess.mean.device
        checked: list[Target] = []
        for image, t in zip(images, targets, strict=True):
            boxes, labels = t["boxes"].to(device, torch.float32).reshape(-1, 4), t["labels"].to(device, torch.int64)
            checked.append({"boxes": boxes, "labels": labels})
            if self.roi_heads is not None and self.roi_heads.mask_head is not None:
                checked[-1]["masks"] = _masks_of(t, image).to(device, torch.bool)
        return checked


def _masks_of(target: Target, image: Tensor) -> Tensor:  # [G, H, W]
    expected = (len(target["boxes"]), *image.shape[1:])
    if "masks" not in target:
        raise ValueError(f"the model has a mask head: training needs 'masks' {list(expected)} in every target")
    if target["masks"].shape != expected:
        raise ValueError(f"masks of an image are {list(expected)}, not {list(target['masks'].shape)}")
    return target["masks"]


def _as_detections(proposals: Proposals, size: tuple[int, int]) -> Detections:
    """The first stage's boxes as a one-stage detector's result, cut at the image's border."""
    boxes = clip_boxes(proposals.boxes, size)
    keep = nonempty(boxes)
    return {"boxes": boxes[keep], "scores": proposals.scores[keep], "labels": proposals.labels[keep]}
