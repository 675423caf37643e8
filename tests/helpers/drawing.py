"""A gray image, and detections to draw on it."""

import torch
from torch import Tensor

from centernet2.structures import Detections


def canvas(height: int = 240, width: int = 320) -> Tensor:
    return torch.full((3, height, width), 128, dtype=torch.uint8)


def detections(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def count_pixels(image: Tensor, color: tuple[int, int, int]) -> int:
    return int((image == torch.tensor(color)[:, None, None]).all(dim=0).sum())
