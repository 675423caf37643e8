"""Test-time augmentation: each image in several sizes, mirrored as well, and one result.

As detectron2 does it: the boxes of all forms together go through non-maximum suppression per class, and the mask of
each remaining box is the mean of what the mask head says of it in every form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from centernet2.kernels.operators import nms_per_class, paste_box_masks
from centernet2.models.detector import Detector
from centernet2.ops.boxes import clip_boxes, nonempty, scale_boxes
from centernet2.ops.fusion import weighted_box_fusion
from centernet2.structures import Detections, TestSize, select

FUSED_OVERLAP = 0.55  # from which boxes are one object's, in weighted box fusion


@dataclass(frozen=True)
class TestAugmentationOptions:
    """Test-time augmentation."""

    enabled: bool = False
    min_sizes: tuple[int, ...] = (400, 500, 600, 700, 800, 900, 1000, 1100, 1200)
    max_size: int = 4000
    flip: bool = True
    merge: str = "nms"


class TestTimeAugmentation(nn.Module):
    """A detector that looks at each image in several forms; it takes images in their own size.

    Args:
        model: the detector.
        resizes: give an image the sizes to look at.
        flip: look at the mirrored image too.
        merge: "nms", or "wbf" for weighted box fusion (arXiv 1910.13302).
        nms_thresh, limit: overlap allowed between detections of a class, and most detections of an image.
    """

    __test__ = False  # no test of pytest's, in spite of its name

    def __init__(
        self,
        model: Detector,
        *,
        resizes: Sequence[Callable[[Tensor], Tensor]],
        flip: bool,
        merge: Literal["nms", "wbf"],
        nms_thresh: float,
        limit: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.resizes = list(resizes)
        self.flip = flip
        self.merge = merge
        self.nms_thresh = nms_thresh
        self.limit = limit
        self.info = replace(model.info, test_size=TestSize())  # it resizes images itself

    @torch.no_grad()
    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detections of images [3, h, w] (uint8 RGB), boxes in their pixels."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        size = (image.shape[1], image.shape[2])
        found = [
            _moved(detections, _size_of(form), size, mirrored)
            for resize in self.resizes
            for form in [resize(image)]
            for detections, mirrored in zip(
                self._find(self._versions(form)), (False, True), strict=False
            )
        ]
        merged = self._merge(found, size)
        if self.model.roi_heads is None or self.model.roi_heads.mask_head is None:
            return merged
        masks = self._mean_masks(image, merged)
        return {
            **merged,
            "box_masks": masks,
            "masks": paste_box_masks(masks, merged["boxes"], size),
        }

    def _versions(self, form: Tensor) -> list[Tensor]:
        return [form, form.flip(-1)] if self.flip else [form]

    def _levels(self, images: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[tuple[int, int]]]:
        batch = self.model.preprocess(images)
        features: dict[str, Tensor] = self.model.neck(self.model.backbone(batch.tensor))
        return features, batch.sizes

    def _find(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detections without masks."""
        heads = self.model.roi_heads
        if heads is None:
            detections: list[Detections] = self.model(images)
            return detections
        features, sizes = self._levels(images)
        proposals = self.model.proposal_generator(features, sizes).proposals
        return heads.find([features[name] for name in heads.in_features], proposals, sizes)

    def _merge(self, found: Sequence[Detections], size: tuple[int, int]) -> Detections:
        boxes = clip_boxes(torch.cat([each["boxes"] for each in found]), size)
        scores, labels = (torch.cat([each[key] for each in found]) for key in ("scores", "labels"))
        if self.merge == "wbf":
            boxes, scores, labels = weighted_box_fusion(
                boxes, scores, labels, iou_threshold=FUSED_OVERLAP, num_models=len(found)
            )
            kept = scores.argsort(descending=True)[: self.limit]
        else:
            kept = nms_per_class(boxes, scores, labels, self.nms_thresh)[: self.limit]
        kept = kept[nonempty(boxes[kept])]
        return select({"boxes": boxes, "scores": scores, "labels": labels}, kept)

    def _mean_masks(self, image: Tensor, merged: Detections) -> Tensor:  # [D, M, M]
        """What the mask head says of the merged boxes, in the mean over all forms."""
        heads = self.model.roi_heads
        if heads is None:
            raise ValueError("a one-stage detector has no masks")
        total, size, count = torch.zeros(()), _size_of(image), 0
        for form in (resize(image) for resize in self.resizes):
            features, _ = self._levels(self._versions(form))
            levels = [features[name] for name in heads.in_features]
            boxes = scale_boxes(merged["boxes"], size, _size_of(form))
            given: list[Detections] = [
                {**merged, "boxes": _mirror(boxes, form.shape[2]) if mirrored else boxes}
                for mirrored in ((False, True) if self.flip else (False,))
            ]
            for masks, mirrored in zip(heads.box_masks(levels, given), (False, True), strict=False):
                total = total.to(masks) + (masks.flip(-1) if mirrored else masks)
                count += 1
        return total / count


def _moved(
    detections: Detections, form: tuple[int, int], size: tuple[int, int], mirrored: bool
) -> Detections:
    """Detections in a form of the image (height, width) on the image of `size`."""
    boxes = _mirror(detections["boxes"], form[1]) if mirrored else detections["boxes"]
    return {**detections, "boxes": scale_boxes(boxes, form, size)}


def _mirror(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def _size_of(image: Tensor) -> tuple[int, int]:
    return image.shape[1], image.shape[2]
