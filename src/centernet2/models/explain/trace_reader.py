"""The trace of one image, and what the explanations of both stages share."""

from typing import cast

import torch
from torch import Tensor

from centernet2.models.centernet.decoder import Candidates
from centernet2.models.explain.explanation import Box
from centernet2.models.explain.traced_image import TracedImage
from centernet2.ops.boxes import pairwise_iou
from centernet2.structures import Proposals

EVERYTHING = 2**31 - 1  # a limit that cuts nothing off


class TraceReader:
    """Reader of the results for one image, whose boxes it scales.

    Args:
        traced: the results.
        scale: factors in x and y from the model's input to the original image.
    """

    def __init__(self, traced: TracedImage, scale: tuple[float, float]) -> None:
        self.decoder, self.selection = traced.decoder, traced.selection
        self.head, self.stages = traced.head, traced.stages
        self.size, self.scale = traced.size, scale
        self.padded = traced.proposals
        self.detections, self.sources = traced.detections, traced.sources
        self.source_rows = self.padded.valid.nonzero()[:, 0]  # of the proposals without padding
        self.proposals = self.padded.without_padding()

    def box(self, box: Tensor) -> Box:
        """Return a box [4] in pixels of the original image."""
        scaled = box.float() * box.new_tensor(self.scale * 2, dtype=torch.float32)
        return cast(Box, tuple(scaled.tolist()))

    def proposals_at(self, x: float, y: float) -> list[int]:
        """Return the rows of the proposals behind the detections that cover a point."""
        boxes = self.detections["boxes"]
        point = boxes.new_tensor((x, y))
        inside = ((boxes[:, :2] <= point) & (boxes[:, 2:] >= point)).all(dim=1)
        rows: list[int] = (self.padded.valid.cumsum(0) - 1)[self.sources[inside]].tolist()
        return rows


def find_row(rows: Candidates | Proposals, box: Tensor, score: Tensor, label: int) -> int | None:
    """Return the row of a candidate with exactly this box, score and label."""
    same = (rows.boxes == box).all(dim=1) & (rows.scores == score) & (rows.labels == label)
    return first_row(same)


def first_row(mask: Tensor) -> int | None:
    """Return the first row of a mask [D] that is set."""
    rows = mask.nonzero()
    return int(rows[0, 0]) if len(rows) else None


def find_suppressor(
    boxes: Tensor, better: Tensor, box: Tensor, threshold: float
) -> tuple[int, float]:
    """Return the row of the box that NMS prefers to another one, and their IoU.

    Args:
        boxes: [D, 4] that NMS keeps, best first.
        better: [D] bool: they have at least the score of the other box, and its class.
        box: [4] that NMS removes.
        threshold: of the IoU.
    """
    iou = torch.where(better, pairwise_iou(boxes.float(), box.float()[None])[:, 0], -1.0)
    first = first_row(iou > threshold)
    # kernels may round an IoU at the threshold in another way
    row = int(iou.argmax()) if first is None else first
    return row, float(iou[row])
