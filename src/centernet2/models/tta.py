"""Test-time augmentation: merge detections at several sizes, also flipped.

As in detectron2, the boxes of all views go through one NMS per class. The mask of a remaining box
is the mean of its masks in all views.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from centernet2.kernels import nms_per_class
from centernet2.models.detector import Detector
from centernet2.models.postprocess import paste_all
from centernet2.models.preprocess import size_of
from centernet2.ops.boxes import clip_boxes, nonempty, scale_boxes
from centernet2.ops.fusion import weighted_box_fusion
from centernet2.structures import Detections, TestSize, select

FUSION_IOU = 0.55  # IoU from which weighted boxes fusion merges boxes


@dataclass(frozen=True)
class TestAugmentationOptions:
    """Test-time augmentation."""

    enabled: bool = False
    min_sizes: tuple[int, ...] = (400, 500, 600, 700, 800, 900, 1000, 1100, 1200)
    max_size: int = 4000
    flip: bool = True
    merge: str = "nms"


class View(NamedTuple):
    """An image at one size, also flipped if flipping is on."""

    size: tuple[int, int]  # (height, width)
    features: Mapping[str, Tensor]  # of the image, then of the flipped one; empty without masks


class TestTimeAugmentation(nn.Module):
    """A detector with test-time augmentation; it takes images at their original size.

    Args:
        model: the detector.
        resizes: transforms that make the views of an image.
        flip: also flip each view.
        merge: "nms", or "wbf" for weighted boxes fusion (arXiv 1910.13302).
        nms_threshold: maximum IoU between detections of a class.
        limit: maximum number of detections per image.
    """

    __test__ = False  # pytest would take it for a test by its name

    def __init__(
        self,
        model: Detector,
        *,
        resizes: Sequence[Callable[[Tensor], Tensor]],
        flip: bool,
        merge: Literal["nms", "wbf"],
        nms_threshold: float,
        limit: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.resizes = list(resizes)
        self.flips = (False, True) if flip else (False,)
        self.merge = merge
        self.nms_threshold = nms_threshold
        self.limit = limit
        self.info = replace(model.info, test_size=TestSize())  # no resizing before the views

    @property
    def num_classes(self) -> int:
        """Number of classes of the detections."""
        return self.model.num_classes

    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w] (uint8 RGB), boxes in their pixels."""
        return paste_all(self.detect(images), images)

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        size = size_of(image)
        views: list[View] = []
        detections: list[Detections] = []
        for resize in self.resizes:
            resized = resize(image)
            trace = self.model.run(
                [resized.flip(-1) if flip else resized for flip in self.flips], masks=False
            )
            views.append(
                View(size_of(resized), trace.features if self.model.predicts_masks else {})
            )
            for own, flip in zip(trace.detections, self.flips, strict=True):
                boxes = _mirror(own["boxes"], resized.shape[2]) if flip else own["boxes"]
                detections.append({**own, "boxes": scale_boxes(boxes, views[-1].size, size)})
        merged = self._merge(detections, size)
        if not self.model.predicts_masks:
            return merged
        return {**merged, "box_masks": self._mean_masks(views, merged, size)}

    def _merge(self, detections: Sequence[Detections], size: tuple[int, int]) -> Detections:
        boxes = clip_boxes(torch.cat([each["boxes"] for each in detections]), size)
        scores = torch.cat([each["scores"] for each in detections])
        labels = torch.cat([each["labels"] for each in detections])
        if self.merge == "wbf":
            boxes, scores, labels = weighted_box_fusion(
                boxes, scores, labels, iou_threshold=FUSION_IOU, num_models=len(detections)
            )
            kept = scores.argsort(descending=True, stable=True)[: self.limit]
        else:
            kept = nms_per_class(boxes, scores, labels, self.nms_threshold)[: self.limit]
        kept = kept[nonempty(boxes[kept])]
        return select({"boxes": boxes, "scores": scores, "labels": labels}, kept)

    def _mean_masks(
        self, views: Sequence[View], merged: Detections, size: tuple[int, int]
    ) -> Tensor:  # [D, M, M]
        """Average the masks of the merged boxes over all views."""
        masks: list[Tensor] = []
        for view in views:
            boxes = scale_boxes(merged["boxes"], size, view.size)
            given: list[Detections] = [
                {**merged, "boxes": _mirror(boxes, view.size[1]) if flip else boxes}
                for flip in self.flips
            ]
            predicted = self.model.predict_masks(view.features, given)
            masks += [
                own.flip(-1) if flip else own
                for own, flip in zip(predicted, self.flips, strict=True)
            ]
        return torch.stack(masks).mean(dim=0)


def _mirror(boxes: Tensor, width: int) -> Tensor:
    """Flip boxes [D, 4] horizontally in an image."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)
