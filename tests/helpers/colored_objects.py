"""A picture of rectangles, each of its own color, and a detector that reads the colors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from centernet2.structures import DetectionArrays, Detections, ModelInfo

NUM_CLASSES = 3
SEEN_PIXELS = 8  # of the network's input that the detector needs to see of an object
NETWORK_SIDE = 800  # pixels of the network's input, for the shorter side of an image
MASK_CELLS = 28


class ColoredObjects:
    """Rectangles that do not overlap, on black: the color of object i is i + 1.

    Args:
        size: height and width of the picture.
        counts: number of objects by their typical size in pixels.
        seed: of their places and sizes.
    """

    def __init__(self, size: tuple[int, int], counts: dict[int, int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        pixels = np.zeros((*size, 3), dtype=np.uint8)
        boxes: list[list[int]] = []
        wanted = [side for side, count in counts.items() for _ in range(count)]
        while len(boxes) < len(wanted):
            width, height = (wanted[len(boxes)] * rng.uniform(0.7, 1.4, 2)).astype(int).tolist()
            left = int(rng.integers(0, size[1] - width))
            top = int(rng.integers(0, size[0] - height))
            place = pixels[top : top + height, left : left + width]
            if not place.any():
                number = len(boxes) + 1
                place[:] = (number & 255, number >> 8, 255)
                boxes.append([left, top, left + width, top + height])
        self.image = pixels
        self.boxes = np.array(boxes)
        self.labels = np.arange(1, len(boxes) + 1) % NUM_CLASSES

    def count(self, found: DetectionArrays) -> tuple[int, int]:
        """Count the objects that are found at an IoU of 0.5, and all other detections."""
        boxes, labels = found["boxes"], found["labels"]
        low = np.maximum(boxes[:, None, :2], self.boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], self.boxes[None, :, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, self.boxes)]
        iou = shared / (areas[0][:, None] + areas[1][None] - shared)
        iou[labels[:, None] != self.labels[None]] = 0
        best = iou.argmax(axis=1)[iou.max(axis=1) >= 0.5]
        return len(set(best.tolist())), len(boxes) - len(set(best.tolist()))


class ColorDetector(torch.nn.Module):
    """Detect what is visible of each colored object, with errors of the box.

    Args:
        noise: standard deviation of each side of a box, as a fraction of the box.
        masks: detect masks, too.
    """

    info = ModelInfo()
    num_classes = NUM_CLASSES

    def __init__(self, *, noise: float = 0.0, masks: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.noise, self.masks = noise, masks
        self.rng = np.random.default_rng(seed)
        self.batches: list[int] = []

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        self.batches.append(len(images))
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        step = max(1, min(image.shape[1:]) // NETWORK_SIDE)
        pixels = image[:, ::step, ::step].numpy().astype(int)
        numbers = pixels[0] + 256 * pixels[1]
        y, x = np.nonzero(numbers)
        spans = [self._span(numbers[y, x], places) for places in (x, y)]
        boxes = np.stack([spans[0][0], spans[1][0], spans[0][1], spans[1][1]], axis=1)
        seen = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= SEEN_PIXELS
        found = np.unique(numbers[y, x])[seen]
        limits = np.array([image.shape[2], image.shape[1]] * 2)
        boxes = boxes[seen] * step
        error = self.noise * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = np.clip(boxes + self.rng.normal(0, 1, boxes.shape) * error, 0, limits)
        detections: Detections = {
            "boxes": torch.tensor(boxes, dtype=torch.float32),
            "scores": torch.tensor(self.rng.uniform(0.5, 1, len(boxes)), dtype=torch.float32),
            "labels": torch.tensor(found % NUM_CLASSES),
        }
        if self.masks:
            detections["box_masks"] = torch.ones(len(boxes), MASK_CELLS, MASK_CELLS)
        return detections

    @staticmethod
    def _span(numbers: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first place, and one behind the last, of each number that occurs."""
        present = np.zeros((numbers.max(initial=0) + 1, places.max(initial=0) + 1), dtype=bool)
        present[numbers, places] = True
        present = present[present.any(axis=1)]
        return present.argmax(axis=1), present.shape[1] - present[:, ::-1].argmax(axis=1)
