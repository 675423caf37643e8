"""Operations of a detector, counted on the meta device: only shapes are computed.

A plan is a detector on the meta device. It cannot decide how many proposals and detections an image
has, so these numbers are given.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config as meta_options
from torch.utils.flop_counter import FlopCounterMode

from centernet2.images.resize import make_test_resize
from centernet2.models.centernet.decoder import Decoder
from centernet2.models.centernet.head import HeadOutput
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import DetectionSelector, RoIPooler
from centernet2.models.roi_heads.selection import Selected
from centernet2.ops.boxes import Size
from centernet2.structures import Proposals

COMMON_SIZE = (480, 640)  # height and width of the commonest COCO image


def input_size(detector: Detector) -> tuple[int, int]:
    """Height and width at which a 480 x 640 image is tested, padded."""
    image = torch.zeros(3, *COMMON_SIZE, dtype=torch.uint8)
    height, width = make_test_resize(detector.info.test_size)(image).shape[1:]
    return detector.preprocess.padded_size(height, width)


def full_selections(detector: Detector) -> tuple[int, int]:
    """The most proposals and detections that an image has, ties left out."""
    proposals = detector.proposal_generator.decoder.options.inference.post_nms_topk
    heads = detector.roi_heads
    return proposals, 0 if heads is None else heads.selection.options.detections_per_image


@torch.inference_mode()
def count_operations(
    plan: Detector, shape: tuple[int, int, int], *, proposals: int, detections: int
) -> dict[str, int]:
    """Count the operations of each stage of the detector; a multiply-add is two.

    Convolutions, deformable ones included, and matrix products are counted. The selection of
    proposals and detections has none.

    Args:
        plan: a detector on the meta device, in evaluation mode; its selections are replaced.
        shape: images, their height and width, padded.
        proposals, detections: in all images together.
    """
    _fix_selections(plan, _shares(proposals, shape[0]), _shares(detections, shape[0]))
    images = list(torch.empty(shape[0], 3, *shape[1:], dtype=torch.uint8, device="meta"))
    mapping = {torch.ops.torchvision.deform_conv2d: _deformable_operations}
    # a one-stage detector drops empty boxes: on the meta device none is
    keeps_all = {"meta_nonzero_assume_all_nonzero": True}
    all_boxes = meta_options.patch(keeps_all)  # type: ignore[attr-defined]
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, all_boxes:
        plan.detect(images)
    counts = counter.get_flop_counts()

    def of(*names: str) -> int:
        return sum(sum(counts.get(f"{type(plan).__name__}.{name}", {}).values()) for name in names)

    operations = {
        "backbone": of("backbone"),
        "neck": of("neck"),
        "first_stage_head": of("proposal_generator.head"),
    }
    if plan.roi_heads is not None:
        stages = [f"roi_heads.stages.{k}" for k in range(len(plan.roi_heads.stages))]
        operations["roi_heads_boxes"] = of(*stages)
    if plan.predicts_masks:
        operations["roi_heads_masks"] = of("roi_heads.mask_branch")
    return operations


def _fix_selections(plan: Detector, proposals: list[int], detections: list[int]) -> None:
    plan.proposal_generator.decoder = _FixedDecoder(proposals)
    heads = plan.roi_heads
    if heads is not None:
        heads.selection = _FixedSelector(detections)
        heads.pooler = _MetaPooler(heads.pooler.resolution)
        if heads.mask_branch is not None:
            heads.mask_branch.pooler = _MetaPooler(heads.mask_branch.pooler.resolution)


class _FixedDecoder(Decoder):
    """Give each image a number of proposals, whatever the head predicts."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__(strides=())
        self.counts = counts

    def forward(
        self, output: HeadOutput, *, limit: int | None = None, padded: bool = False
    ) -> list[Proposals]:
        return [Proposals(*_meta_boxes(count), valid=_meta(count) > 0) for count in self.counts]


class _FixedSelector(DetectionSelector):
    """Give the images, one after the other, a number of detections."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.counts = iter(counts)

    def __call__(
        self, boxes: Tensor, probabilities: Tensor, proposals: Proposals, size: Size
    ) -> Selected:
        count = next(self.counts)
        boxes, scores, labels = _meta_boxes(count)
        return Selected({"boxes": boxes, "scores": scores, "labels": labels}, labels)


class _MetaPooler(RoIPooler):
    """Give features of the size that RoIAlign has, without a level for each RoI."""

    def __init__(self, resolution: int) -> None:
        super().__init__(strides=())
        self.resolution = resolution

    def forward(self, levels: Sequence[Tensor], rois: Tensor) -> Tensor:
        channels = levels[0].shape[1]
        return levels[0].new_empty(len(rois), channels, self.resolution, self.resolution)


def _shares(total: int, images: int) -> list[int]:
    return [total // images + (image < total % images) for image in range(images)]


def _meta(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def _meta_boxes(count: int) -> tuple[Tensor, Tensor, Tensor]:
    return _meta(count, 4), _meta(count), _meta(count).long()


def _deformable_operations(
    image: Any, weight: Any, *rest: Any, out_shape: Any, **options: Any
) -> int:
    """Two operations for each weight at each position; the interpolation is left out."""
    samples, channels, height, width = out_shape
    return int(2 * samples * height * width * channels * weight[1] * weight[2] * weight[3])
