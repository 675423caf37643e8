"""An exported file for evaluation, which works on tensors."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from centernet2.images.stored_image import to_pixels
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.structures import Detections

COLUMNS = ("boxes", "scores", "labels", "box_masks")  # that are evaluated


class TensorDetector:
    """The interface of PyTorch's detectors to an exported one."""

    def __init__(self, exported: ExportedDetector) -> None:
        self.exported, self.info = exported, exported.info

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        found = self.exported.detect([to_pixels(image) for image in images])
        return [
            cast(Detections, {name: torch.from_numpy(own[name]) for name in COLUMNS if name in own})
            for own in found
        ]

    def modules(self) -> Iterator[nn.Module]:
        """Return no modules: there is no training mode."""
        return iter(())

    def eval(self) -> object:
        """Return itself: there is no training mode."""
        return self
