"""NMS by sorting removes the boxes that comparing all pairs removes."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from centernet2.kernels import nms_mask
from centernet2.kernels.sparse_nms import sparse_nms


def clusters(count: int, *, noise: float, seed: int = 0) -> Tensor:
    """Boxes [count, 4] of 30 objects of all sizes, shifted by `noise` of their size."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(30, 2, generator=generator) * 800
    half = torch.exp(torch.rand(30, 2, generator=generator) * 5)
    owner = torch.randint(30, (count,), generator=generator)
    exact = torch.cat([center - half, center + half], dim=1)[owner]
    return exact + noise * half[owner].repeat(1, 2) * torch.randn(count, 4, generator=generator)


def sparse_mask(
    boxes: Tensor, labels: Tensor | None, threshold: float, limit: int = 10_000
) -> Tensor | None:
    stay = sparse_nms(boxes, torch.arange(len(boxes), 0, -1), labels, threshold, limit)
    return (
        None
        if stay is None
        else torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, stay, True)
    )


def expected(boxes: Tensor, labels: Tensor | None, threshold: float) -> Tensor:
    scores = torch.arange(len(boxes), 0, -1).float()
    keep = (
        nms(boxes, scores, threshold)
        if labels is None
        else batched_nms(boxes, scores, labels, threshold)
    )
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, keep, True)


@pytest.mark.parametrize("threshold", [0.5, 0.85, 0.9, 0.99])
@pytest.mark.parametrize("noise", [0.003, 0.03, 0.3])
def test_equals_torchvision(noise: float, threshold: float) -> None:
    boxes = clusters(1500, noise=noise)
    mask = sparse_mask(boxes, None, threshold)
    assert mask is not None
    assert 0 < int(mask.sum()) <= 1500
    assert torch.equal(mask, expected(boxes, None, threshold))


@pytest.mark.parametrize("noise", [0.003, 0.03, 0.3])
def test_blocks_give_equal_masks(noise: float) -> None:
    boxes = clusters(3000, noise=noise)
    wanted = expected(boxes, None, 0.9)
    for limit in (1, 40, 400):
        mask = sparse_mask(boxes, None, 0.9, limit)
        assert mask is not None
        best = wanted.nonzero().flatten()[:limit]
        assert torch.equal(mask.nonzero().flatten()[: len(best)], best)
        assert not (mask & ~wanted).any()


def test_labels_do_not_remove_each_other() -> None:
    boxes = clusters(2000, noise=0.02)
    labels = torch.randint(1203, (2000,), generator=torch.Generator().manual_seed(1)) % 7 * 200
    mask = sparse_mask(boxes, labels, 0.9)
    assert mask is not None
    assert torch.equal(mask, expected(boxes, labels, 0.9))
    assert mask.sum() > expected(boxes, None, 0.9).sum()


def test_empty_and_infinite_boxes_remove_nothing() -> None:
    odd = torch.tensor(
        [[5, 5, 5, 9], [9, 9, 5, 5], [9, 5, 5, 9], [0, 0, float("inf"), 9], [float("nan"), 0, 9, 9]]
    )
    boxes = torch.cat(
        [odd, odd, clusters(50, noise=0.01), torch.tensor([[1e6, 0, 2e6, 9], [1e6, 0, 2e6, 9]])]
    )
    mask = sparse_mask(boxes, None, 0.9)
    assert mask is not None
    assert torch.equal(mask, expected(boxes, None, 0.9))
    assert mask[:10].all()
    assert mask[-2:].tolist() == [True, False]
    assert sparse_mask(odd, None, 0.9) is not None
    assert sparse_mask(odd[:0], None, 0.9) is not None


def test_crowds_are_left_to_greedy_nms() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(1500, 1)
    assert sparse_mask(boxes, None, 0.9) is None
    assert nms_mask(boxes, torch.arange(1500, 0, -1), None, 0.9).nonzero().flatten().tolist() == [0]


@pytest.mark.parametrize("limit", [None, 400])
def test_runs_for_many_boxes_on_the_cpu(limit: int | None) -> None:
    boxes = clusters(4000, noise=0.1)
    scores = torch.arange(4000, 0, -1).float()
    mask, wanted = nms_mask(boxes, scores, None, 0.9, limit=limit), expected(boxes, None, 0.9)
    best = wanted.nonzero().flatten()[:limit]
    assert torch.equal(mask.nonzero().flatten()[: len(best)], best)
