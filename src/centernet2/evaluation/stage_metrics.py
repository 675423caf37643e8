"""Metrics of the two stages: recall of proposals, and calibration of scores."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.ops.boxes import pairwise_iou, scale_boxes
from centernet2.structures import FloatArray, Inspection

PROPOSAL_COUNTS = (50, 100, 256, 1000)
RECALL_IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
BINS = 10  # of equal width, in 0..1
STAGE_RECORD = {"object_scores": list, "class_scores": list, "recall": dict, "proposals": list}
PROPOSAL_HIT_IOU = 0.5  # from which a proposal is on an object


class Bins(NamedTuple):
    """Scores in bins of equal width, and how many of them are right."""

    counts: FloatArray  # [BINS]
    scores: FloatArray  # [BINS] sums
    hits: FloatArray  # [BINS] sums

    @property
    def error(self) -> float:
        """Expected calibration error: mean difference between score and precision."""
        total = self.counts.sum()
        return float(np.abs(self.scores - self.hits).sum() / total) if total else float("nan")


def bin_scores(scores: FloatArray, hits: FloatArray) -> Bins:
    """Put scores [D] in 0..1, and whether each is right [D], into bins."""
    index = (scores * BINS).astype(np.int64).clip(0, BINS - 1)
    columns = (np.ones_like(scores), scores, hits)
    sums = [
        np.bincount(index, weights=column, minlength=BINS).astype(np.float64) for column in columns
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
    """The scores and the recall of the stages in one image, ready for JSON.

    Args:
        kept: [D] bool, the detections that are evaluated.
        input_size, size: (height, width) of the model's input and of the image file.
        truth, image: the ground truth, and the image's index in it.
    """
    rows = truth.rows(image)
    boxes = torch.from_numpy(truth.boxes(rows)[~truth.crowd[rows]]).double()  # [G, 4]
    proposals = scale_boxes(inspection.proposals.boxes.cpu(), input_size, size)
    iou = pairwise_iou(boxes, proposals) if len(boxes) else proposals.new_zeros(0, len(proposals))
    used = iou[:, : inspection.num_used]
    best = used.amax(dim=0) if len(boxes) else proposals.new_zeros(used.shape[1])
    scores = inspection.proposals.scores[: inspection.num_used].cpu().double().numpy()
    bins = bin_scores(scores, (best.numpy() >= PROPOSAL_HIT_IOU).astype(np.float64))
    return {
        "object_scores": inspection.objectness[kept].tolist(),
        "class_scores": inspection.class_probability[kept].tolist(),
        "recall": {str(count): _assigned_ious(iou[:, :count]) for count in PROPOSAL_COUNTS},
        "proposals": [column.tolist() for column in bins],
        "num_proposals": len(proposals),
    }


def _assigned_ious(iou: Tensor) -> list[float]:
    """Assign a proposal to each object greedily by IoUs [G, R], the best pair first."""
    iou = iou.clone()
    assigned = []
    for _ in range(min(iou.shape)):
        best = int(iou.argmax())
        i, j = divmod(best, iou.shape[1])
        assigned.append(float(iou[i, j]))
        iou[i, :] = iou[:, j] = -1
    return assigned + [0.0] * (iou.shape[0] - len(assigned))


def proposal_recall(records: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Recall of the first stage in percent by proposal count: {100: {"AR": ...}}."""
    records = list(records)
    recall = {}
    for count in PROPOSAL_COUNTS:
        assigned = np.array([x for record in records for x in record["recall"][str(count)]])
        at = [
            100 * float((assigned >= least).mean()) if len(assigned) else float("nan")
            for least in RECALL_IOUS
        ]
        recall[count] = {"AR": float(np.mean(at)), "R50": at[0], "R75": at[5]}
    return recall


def proposal_bins(records: Sequence[Mapping[str, Any]]) -> Bins:
    """Calibration of the proposals' scores: right is a proposal on any object."""
    counts, scores, hits = np.array(
        [record["proposals"] for record in records], dtype=np.float64
    ).sum(axis=0)
    return Bins(counts, scores, hits)


def stage_scores(records: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
    """Scores of the first and second stage of all detections [D], in image order."""
    first, second = (
        np.array([x for record in records for x in record[key]], dtype=np.float64)
        for key in ("object_scores", "class_scores")
    )
    return first, second
