"""The second stage's parts: sampling, selection, padding."""

import torch

from centernet2.models.roi_heads import DetectionSelector, SelectionOptions
from centernet2.models.roi_heads.sampling import append_ground_truth, match, sample
from centernet2.structures import Proposals, Target

NUM_CLASSES = 3
BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 9, 10], [50, 50, 60, 60]])


def proposals(scores: list[float], valid: list[bool]) -> Proposals:
    labels = torch.zeros(len(scores), dtype=torch.int64)
    return Proposals(BOXES[: len(scores)], torch.tensor(scores), labels, torch.tensor(valid))


def padded_target() -> Target:
    """One object and a padded row whose box would match the second proposal."""
    return {
        "boxes": BOXES[:2],
        "labels": torch.tensor([2, 1]),
        "valid": torch.tensor([True, False]),
    }


def test_padded_objects_match_nothing() -> None:
    rois = match(BOXES, torch.ones(4, dtype=torch.bool), padded_target(), 0.5, NUM_CLASSES)
    assert rois.labels.tolist() == [2, NUM_CLASSES, 2, NUM_CLASSES]
    nothing: Target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    rois = match(BOXES, torch.ones(4, dtype=torch.bool), nothing, 0.0, NUM_CLASSES)
    assert rois.labels.tolist() == [NUM_CLASSES] * 4


def test_padded_rows_are_never_sampled() -> None:
    own = append_ground_truth(
        proposals([0.9, 0.8, 0.7, 0.6], [True, True, False, False]), padded_target()
    )
    assert own.valid.tolist() == [True, True, False, False, True, False]
    rois = match(own.boxes, own.valid, padded_target(), 0.5, NUM_CLASSES)
    drawn = sample(rois, size=5, max_positives=1, num_classes=NUM_CLASSES, generator=None)
    assert drawn.valid.tolist() == [True, True, False, False, False]
    assert drawn.labels[:2].tolist() == [2, NUM_CLASSES]


def test_selection_skips_padding_and_broken_rows() -> None:
    probabilities = torch.full((4, NUM_CLASSES), 0.01)
    probabilities[0, 1] = probabilities[1, 2] = probabilities[3, 0] = 0.9
    probabilities[2] = torch.nan
    own = proposals([0.9, 0.8, 0.7, 0.6], [True, True, True, False])
    for static in (False, True):
        select = DetectionSelector(SelectionOptions(multiply_proposal_score=True))
        select.static_shapes = static
        detections, sources = select(BOXES[:, None], probabilities, own, (100, 100))
        assert detections["labels"].tolist()[:2] == [1, 2] and sources.tolist()[:2] == [0, 1]
        assert set(sources.tolist()) == {0, 1}


def test_selection_clips_and_limits_detections() -> None:
    probabilities = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.6, 0.0], [0.5, 0.4]])
    own = proposals([1.0] * 4, [True] * 4)
    options = SelectionOptions(score_threshold=0.3, detections_per_image=3)
    detections, sources = DetectionSelector(options)(BOXES[:, None], probabilities, own, (30, 45))
    assert sources.tolist() == [0, 1, 1]  # the third box falls to NMS, the last is outside
    assert detections["boxes"][1].tolist() == [20, 20, 40, 30]
