"""A detector that abstains: objects of none of its classes are unknown.

What is certainly an object and like none of the classes is detected with a label of its own, C,
and its objectness as score. Boxes of classes on it are left out.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from centernet2.models.detector import Detector, Trace
from centernet2.models.inspect import inspect
from centernet2.models.postprocess import paste_all
from centernet2.models.roi_heads import SAME_OBJECT_IOU, calibrated_objectness
from centernet2.ops.boxes import pairwise_iou
from centernet2.structures import Detections, Inspection, UnknownObjects, select


class AbstainingDetector(nn.Module):
    """A two-stage detector that abstains.

    Args:
        model: the detector, in evaluation mode.

    Raises:
        ValueError: it was not calibrated on known objects.
    """

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model
        self.info, self.calibration = model.info.abstaining(model.num_classes)

    @property
    def num_classes(self) -> int:
        """Number of classes of the detections, the unknown one among them."""
        return self.model.num_classes + 1

    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w] (uint8 RGB), boxes in their pixels."""
        return paste_all(self.detect(images), images)

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        if not images:
            return []
        trace = self.model.run(images)
        inspected = inspect(self.model, images, trace=trace, unknown=True)
        unknown = [self._unknown(cast(UnknownObjects, each.unknown)) for each in inspected]
        unknown = self._with_masks(trace, unknown)
        label = self.model.num_classes
        return [_join(*row, label) for row in zip(inspected, unknown, strict=True)]

    def _unknown(self, objects: UnknownObjects) -> Detections:
        """Return the unknown objects of an image, with their most probable labels."""
        objectness = calibrated_objectness(self.calibration, objects.objectness)
        found: Detections = {
            "boxes": objects.boxes,
            "scores": objectness,
            "labels": objects.labels,
            "objectness": objectness,
            "class_probability": torch.ones_like(objectness),
        }
        return select(found, self.calibration.are_unknown(objects.novelty, objectness))

    def _with_masks(self, trace: Trace, unknown: list[Detections]) -> list[Detections]:
        """Add the masks that the detector predicts for the most probable class."""
        if not self.model.predicts_masks:
            return unknown
        masks = self.model.predict_masks(trace.features, unknown)
        return [{**each, "box_masks": own} for each, own in zip(unknown, masks, strict=True)]


def _join(inspected: Inspection, unknown: Detections, label: int) -> Detections:
    """Join unknown objects with the detections that are on none of them, best first."""
    known = inspected.scored()
    on_unknown = pairwise_iou(known["boxes"], unknown["boxes"]) >= SAME_OBJECT_IOU  # [D, U]
    known = select(known, ~on_unknown.any(dim=1))
    unknown = {**unknown, "labels": torch.full_like(unknown["labels"], label)}
    columns = cast(dict[str, Tensor], known), cast(dict[str, Tensor], unknown)
    joined = {name: torch.cat([each[name] for each in columns]) for name in known}
    order = joined["scores"].argsort(descending=True, stable=True)
    return select(cast(Detections, joined), order)
