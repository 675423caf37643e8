"""What each of the two stages contributes: the recall of the first, and how far the scores can be believed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.evaluation.ground_truth import FloatArray, GroundTruth
from centernet2.ops.boxes import pairwise_iou, scale_boxes
from centernet2.structures import Inspection

PROPOSAL_COUNTS = (50, 100, 256, 1000)
OVERLAPS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
BINS = 10  # of equal width, in 0..1
HIT = 0.5  # overlap from which a proposal holds an object


class Bins(NamedTuple):
    """Scores in bins of equal width: how high they are, and how often they are right."""

    counts: FloatArray  # [BINS]
    scores: FloatArray  # [BINS] sums
    hits: FloatArray  # [BINS] sums

    @property
    def error(self) -> float:
        """The expected calibration error: how far score and precision are apart, in the mean over detections."""
        total = self.counts.sum()
        return float(np.abs(self.scores - self.hits).sum() / total) if total else float("nan")


def bin_scores(scores: FloatArray, hits: FloatArray) -> Bins:
    """Puts scores [D] in 0..1 and whether each is right [D] into bins."""
    place = (scores * BINS).astype(np.int64).clip(0, BINS - 1)
    columns = (np.ones_like(scores), scores, hits)
    sums = [
        np.bincount(place, weights=column, minlength=BINS).astype(np.float64) for column in columns
    ]
    return Bins(sums[0], sums[1], sums[2])


def stage_record(
    inspection: Inspection,
    kept: Tensor,
    input_size: tuple[int, int],
    size: tuple[int, int],
    truth: GroundTruth,
    image: int,
) -> dict[str, Any]:
    """What is to be known of one image, as JSON.

    Args:
        inspection: what the stages say.
        kept: [D] bool, the detections that are evaluated.
        input_size, size: (height, width) of the model's input and of the image file.
        truth, image: the ground truth, and the image's index in it.
    """
    rows = slice(int(truth.offsets[image]), int(truth.offsets[image + 1]))
    boxes = torch.from_numpy(truth.boxes[rows][~truth.crowd[rows]])  # [G, 4]
    proposals = scale_boxes(inspection.proposals.boxes.cpu(), input_size, size)
    overlaps = (
        pairwise_iou(boxes, proposals) if len(boxes) else proposals.new_zeros(0, len(proposals))
    )
    used = overlaps[:, : inspection.num_used]
    best = used.amax(dim=0) if len(boxes) else proposals.new_zeros(used.shape[1])
    scores = inspection.proposals.scores[: inspection.num_used].cpu().double().numpy()
    return {
        "object_scores": inspection.object_scores[kept].tolist(),
        "class_scores": inspection.class_scores[kept].tolist(),
        "recall": {str(count): _covered(overlaps[:, :count]) for count in PROPOSAL_COUNTS},
        "proposals": [
            column.tolist()
            for column in bin_scores(scores, (best.numpy() >= HIT).astype(np.float64))
        ],
        "num_proposals": len(proposals),
    }


def _covered(overlaps: Tensor) -> list[float]:
    """How well each object is covered by a proposal of its own, from overlaps [G, R]: the best pair first."""
    overlaps = overlaps.clone()
    covered = []
    for _ in range(min(overlaps.shape)):
        best = int(overlaps.argmax())
        i, j = divmod(best, overlaps.shape[1])
        covered.append(round(float(overlaps[i, j]), 4))
        overlaps[i, :] = overlaps[:, j] = -1
    return covered + [0.0] * (overlaps.shape[0] - len(covered))


def proposal_recall(records: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Recall of the first stage in per cent, by the number of proposals: {100: {"AR": ..., "R50": ...}}."""
    records = list(records)
    recall = {}
    for count in PROPOSAL_COUNTS:
        covered = np.array([x for record in records for x in record["recall"][str(count)]])
        at = [
            100 * float((covered >= overlap).mean()) if len(covered) else float("nan")
            for overlap in OVERLAPS
        ]
        recall[count] = {"AR": float(np.mean(at)), "R50": at[0], "R75": at[5]}
    return recall


def proposal_bins(records: Sequence[Mapping[str, Any]]) -> Bins:
    """How often proposals of a score hold an object of any class."""
    counts, scores, hits = np.array(
        [record["proposals"] for record in records], dtype=np.float64
    ).sum(axis=0)
    return Bins(counts, scores, hits)


def stage_scores(records: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
    """The first stage's and the second stage's score of all detections [D], in the order of the images."""
    columns = [
        np.array([x for record in records for x in record[key]], dtype=np.float64)
        for key in ("object_scores", "class_scores")
    ]
    return columns[0], columns[1]
