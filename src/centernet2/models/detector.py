"""The detector: backbone, neck, first stage and second stage."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from centernet2.kernels import not_compiled
from centernet2.models.centernet import CenterNet, HeadOutput
from centernet2.models.postprocess import paste_all
from centernet2.models.preprocess import (
    Preprocess,
    check_images,
    check_targets,
    list_images,
    pad_target,
)
from centernet2.models.roi_heads import CascadeRoIHeads, RoIHeadsOutput, StageOutput
from centernet2.ops.boxes import Size, clip_boxes, nonempty
from centernet2.ops.tensors import constant, lower_precision
from centernet2.structures import Detections, ModelInfo, Proposals, Target


class Trace(NamedTuple):
    """All results of the detector for a batch of images.

    In training mode there are losses, but no `head`, `stages`, `detections` and `sources`, which
    the backward pass does not need.
    """

    sizes: Sequence[Size]  # (height, width) of each image before padding
    features: Mapping[str, Tensor]  # {name: [N, channels, h, w]} of the feature pyramid
    head: HeadOutput | None  # of the first stage
    proposals: list[Proposals]  # of each image
    stages: list[StageOutput]  # of the second stage's cascade, for all images together
    detections: list[Detections]  # of each image, masks in the grid of their box
    sources: list[Tensor]  # [D] row of the proposal behind each detection
    losses: dict[str, Tensor]


class Detector(nn.Module):
    """CenterNet2 (arXiv 2103.07461): p(class, object) = p(class | object) p(object).

    Args:
        preprocess: uint8 images -> one normalized batch.
        backbone, neck: batch -> feature maps by name -> feature pyramid by name.
        proposal_generator: pyramid -> proposals, with scores of being objects.
        roi_heads: pyramid and proposals -> detections. None makes a one-stage detector.
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
        self.static_shapes = False  # see `use_static_shapes`
        self.inference_dtype = torch.float32  # of matrix products; training uses autocast
        self.info = ModelInfo()  # for callers and checkpoints; the detector does not read it

    @not_compiled(recursive=False)
    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        *,
        pasted: bool = True,
    ) -> list[Detections] | dict[str, Tensor]:
        """Return detections of images [3, h, w] (uint8 RGB), or in training losses.

        Masks are pasted at the size of the images, or without `pasted` stay in the grid of their
        box.
        """
        images = list_images(images)
        if not images and not self.training:
            return []
        trace = self.run(images, targets)
        if self.training:
            return trace.losses
        if not pasted:
            return trace.detections
        return paste_all(trace.detections, images)

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        detections: list[Detections] = self(images, pasted=False)
        return detections

    @torch.no_grad()
    def propose(self, images: Sequence[Tensor], *, limit: int | None = None) -> list[Proposals]:
        """Return unpadded class-agnostic proposals of images [3, h, w], best first.

        Their scores are the root of the probability that a box holds an object, of whatever class.

        Args:
            images: uint8 RGB.
            limit: maximum number per image, not counting proposals that tie with the last;
                default: as many as enter the second stage.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}; give at least 1, or None")
        if self.training:
            raise ValueError("a model in training mode proposes nothing; call model.eval() first")
        if self.proposal_generator.head.predicts_classes:
            raise ValueError("a one-stage detector detects classes; only a two-stage one proposes")
        if not (images := list_images(images)):
            return []
        trace = self.run(images, second_stage=False)
        proposals = trace.proposals
        if limit is not None and trace.head is not None:
            proposals = self.proposal_generator.decoder(trace.head, limit=limit)
        return [each.without_padding() for each in proposals]

    @torch.no_grad()
    def embed(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Return RoI features [R, channels] of given boxes: of the last box head.

        Args:
            features: of a Trace.
            boxes: [R, 4] of each image, in pixels of the model's input.
        """
        if self.roi_heads is None:
            raise ValueError("a one-stage detector has no RoI features; take a two-stage one")
        levels = self.roi_heads.levels(features)
        with lower_precision(levels[0], self.inference_dtype):
            return self.roi_heads.embed(levels, boxes)

    # compiled programs begin behind this method, which depends on the sizes of images
    @not_compiled(recursive=False)
    def run(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        *,
        second_stage: bool = True,
        masks: bool = True,
    ) -> Trace:
        """Run all parts on images and return all results.

        Without `second_stage` there are no detections, and without `masks` no masks.
        """
        x, sizes, targets = self._prepare(images, targets)
        dtype = torch.float32 if self.training else self.inference_dtype
        with lower_precision(x, dtype):
            return self._run_stages(x, sizes, targets, second_stage=second_stage, masks=masks)

    def _run_stages(
        self,
        x: Tensor,
        sizes: Sequence[Size],
        targets: Sequence[Target] | None,
        *,
        second_stage: bool,
        masks: bool,
    ) -> Trace:
        features = self.neck(self.backbone(x))
        padded = self.training or self.static_shapes
        proposals, losses, head = self.proposal_generator(features, sizes, targets, padded=padded)
        if not second_stage or (self.roi_heads is None and self.training):
            second = RoIHeadsOutput([], [], [], {})
        elif self.roi_heads is not None:
            second = self.roi_heads(features, proposals, sizes, targets, masks=masks)
        else:
            second = _first_stage_detections(proposals, sizes)
        stages, detections, sources, roi_losses = second
        return Trace(
            sizes, features, head, proposals, stages, detections, sources, losses | roi_losses
        )

    @torch.no_grad()
    def predict_masks(
        self, features: Mapping[str, Tensor], detections: Sequence[Detections]
    ) -> list[Tensor]:
        """Predict masks of given boxes: probabilities [D, M, M] in the grid of each box.

        Args:
            features: of a Trace.
            detections: of each image, from any source.
        """
        if self.roi_heads is None or self.roi_heads.mask_branch is None:
            raise ValueError("the model predicts no masks")
        levels = self.roi_heads.levels(features)
        with lower_precision(levels[0], self.inference_dtype):
            return self.roi_heads.mask_branch.predict(levels, detections)

    @property
    def predicts_masks(self) -> bool:
        """Whether detections have masks."""
        return self.roi_heads is not None and self.roi_heads.mask_branch is not None

    @property
    def num_classes(self) -> int:
        """Number of classes of the detections."""
        stage = self.proposal_generator.head if self.roi_heads is None else self.roi_heads
        return stage.num_classes

    def use_static_shapes(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Make the shapes of all tensors independent of the content of images.

        Devices and compilers that plan ahead need this. Batches are padded to the smallest of
        `sizes` (height, width) that is large enough, ground truth to a multiple of PADDED_OBJECTS.
        The numbers of proposals, sampled RoIs and candidates for detections are fixed.
        """
        self.static_shapes = True
        self.preprocess.fixed_sizes = sorted(sizes, key=math.prod)
        if self.roi_heads is not None:
            self.roi_heads.selection.static_shapes = True

    @not_compiled(recursive=True)
    def _prepare(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None
    ) -> tuple[Tensor, Sequence[Size], Sequence[Target] | None]:
        images = check_images(images)
        if self.training:
            device = self.preprocess.mean.device
            targets = check_targets(
                images, targets, device, num_classes=self.num_classes, masks=self.predicts_masks
            )
        x, sizes = self.preprocess(images)
        if not (self.static_shapes and targets is not None):
            return x, sizes, targets
        padded = [pad_target(target, (x.shape[2], x.shape[3])) for target in targets]
        return x, list(constant(sizes, x)), padded


def _first_stage_detections(
    proposals: Sequence[Proposals], sizes: Sequence[Size]
) -> RoIHeadsOutput:
    """Turn proposals into detections of a one-stage detector, clipped to the image."""
    detections: list[Detections] = []
    sources: list[Tensor] = []
    for own, size in zip(proposals, sizes, strict=True):
        boxes = clip_boxes(own.boxes, size)
        rows = (nonempty(boxes) & own.valid).nonzero().squeeze(1)  # [D]
        detections.append(
            {"boxes": boxes[rows], "scores": own.scores[rows], "labels": own.labels[rows]}
        )
        sources.append(rows)
    return RoIHeadsOutput([], detections, sources, {})
