"""From candidates to proposals."""

import torch
from torch import Tensor

from centernet2.models.centernet import Decoder, DecoderOptions, HeadOutput
from centernet2.models.centernet.decoder import Candidates, merge_levels, split_images
from centernet2.structures import Proposals

FAR_APART = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])


def level(boxes: Tensor, scores: list[float]) -> Candidates:
    labels = torch.zeros(1, len(scores), dtype=torch.int64)
    return Candidates(boxes[None], torch.tensor([scores]), labels)


def merge(levels: list[Candidates], *, nms_threshold: float, topk: int) -> Proposals:
    batch = merge_levels(levels, nms_threshold=nms_threshold, topk=topk, num_classes=1)
    (proposals,) = split_images(batch, None)
    return proposals


def test_proposals_that_tie_with_the_last_stay() -> None:
    proposals = merge([level(FAR_APART, [0.5, 0.9, 0.5, 0.1])], nms_threshold=0.5, topk=2)
    assert proposals.scores.tolist() == torch.tensor([0.9, 0.5, 0.5]).tolist()


def test_best_of_all_levels_come_first() -> None:
    levels = [level(FAR_APART[:2], [0.2, 0.8]), level(FAR_APART[2:], [0.4, 0.6])]
    proposals = merge(levels, nms_threshold=0.5, topk=3)
    assert torch.equal(proposals.boxes, FAR_APART[[1, 3, 2]])


def test_nms_threshold_of_zero_removes_nothing() -> None:
    candidates = level(FAR_APART[:1].expand(3, 4), [0.3, 0.2, 0.1])
    kept = [len(merge([candidates], nms_threshold=t, topk=9).boxes) for t in (0.0, 0.5)]
    assert kept == [3, 1]


def test_padded_rows_are_invalid() -> None:
    logits = torch.full((2, 1, 2, 2), -9.0)
    logits[0, 0, 0, 1] = logits[1, 0, 0, 0] = logits[1, 0, 1, 1] = 3.0
    output = HeadOutput(None, [logits], [torch.ones(2, 4, 2, 2)])
    proposals = Decoder([8], DecoderOptions(score_threshold=0.5))(output, padded=True)
    assert [p.valid.tolist() for p in proposals] == [[True] + [False] * 3, [True] * 2 + [False] * 2]
    assert all(
        (p.scores[~p.valid] == 0).all() and (p.scores[p.valid] > 0.9).all() for p in proposals
    )
    unpadded = Decoder([8], DecoderOptions(score_threshold=0.5))(output)
    assert [len(p.boxes) for p in unpadded] == [1, 2]
