"""From candidates to proposals."""

import torch

from centernet2.models.centernet.decode import Candidates, split_images, suppress
from centernet2.structures import Proposals

FAR_APART = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])


def level(boxes: torch.Tensor, scores: list[float]) -> Candidates:
    return Candidates(
        boxes[None], torch.tensor([scores]), torch.zeros(1, len(scores), dtype=torch.int64), 1
    )


def proposals(levels: list[Candidates], *, nms_thresh: float, topk: int) -> list[Proposals]:
    return split_images(suppress(levels, nms_thresh=nms_thresh, topk=topk), None)


def test_proposals_that_tie_with_the_last_one_stay() -> None:
    (found,) = proposals([level(FAR_APART, [0.5, 0.9, 0.5, 0.1])], nms_thresh=0.5, topk=2)
    assert found.scores.tolist() == torch.tensor([0.9, 0.5, 0.5]).tolist()


def test_the_best_of_all_levels_come_first() -> None:
    levels = [level(FAR_APART[:2], [0.2, 0.8]), level(FAR_APART[2:], [0.4, 0.6])]
    (found,) = proposals(levels, nms_thresh=0.5, topk=3)
    assert torch.equal(found.boxes, FAR_APART[[1, 3, 2]])


def test_a_threshold_of_zero_removes_nothing() -> None:
    same = FAR_APART[:1].expand(3, 4)
    assert [
        len(proposals([level(same, [0.3, 0.2, 0.1])], nms_thresh=t, topk=9)[0].boxes)
        for t in (0.0, 0.5)
    ] == [3, 1]
