"""An exported file for evaluation, which works on tensors."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from centernet2.images.stored_image import to_pixels
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.structures import Detections


class TensorDetector:
    """The interface of PyTorch's detectors to an exported one."""

    def __init__(self, exported: ExportedDetector) -> None:
        self.exported, self.info = exported, exported.info

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        return [
            _to_tensors({name: torch.from_numpy(column) for name, column in own.items()})
            for own in self.exported.detect([to_pixels(image) for image in images])
        ]

    def modules(self) -> Iterator[nn.Module]:
        """Return no modules: there is no training mode."""
        return iter(())

    def eval(self) -> object:
        """Return itself: there is no training mode."""
        return self


def _to_tensors(columns: dict[str, Tensor]) -> Detections:
    found: Detections = {
        "boxes": columns["boxes"],
        "scores": columns["scores"],
        "labels": columns["labels"],
    }
    if "box_masks" in columns:
        found["box_masks"] = columns["box_masks"]
    return found
