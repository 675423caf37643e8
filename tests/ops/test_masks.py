"""Mask targets, loss and pasting against the plain formulas."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, grid_sample

from centernet2.kernels import mask_paste_whole
from centernet2.ops.masks import mask_loss, mask_targets, paste_masks


def circle(size: int, radius: float) -> torch.Tensor:  # bool [size, size]
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return (x - size / 2) ** 2 + (y - size / 2) ** 2 <= radius**2


def pasted_by_grid_sample(
    mask: torch.Tensor, box: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Bilinear interpolation with zeros around the mask, sampled at all pixel centers."""
    x = (torch.arange(size[1]) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (torch.arange(size[0]) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)
    return grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]


@pytest.mark.parametrize("together", [1, 3, 100])
def test_pasting_is_bilinear_interpolation(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(20, 28, 28, generator=generator)
    corner = torch.rand(20, 2, generator=generator) * 60 - 20
    boxes = torch.cat([corner, corner + torch.rand(20, 2, generator=generator) * 70 + 0.5], dim=1)
    size = (40, 50)
    exact = torch.stack(
        [pasted_by_grid_sample(m, b, size) for m, b in zip(probabilities, boxes, strict=True)]
    )
    clear = (exact - 0.5).abs() > 1e-4  # where rounding does not decide
    on_cpu = paste_masks(probabilities, boxes, size)
    assert on_cpu.dtype == torch.bool and on_cpu.shape == (20, 40, 50)
    assert torch.equal(on_cpu & clear, (exact >= 0.5) & clear)
    assert clear.float().mean() > 0.99 and on_cpu.any(dim=2).any(dim=1).sum() > 10

    # as on an accelerator: whole images, a few at a time
    monkeypatch.setattr(mask_paste_whole, "PASTED_AT_ONCE", together * size[0] * size[1])
    whole = mask_paste_whole.paste_masks_whole(probabilities, boxes, size)
    assert torch.equal(whole & clear, on_cpu & clear)


def test_empty_and_outside_boxes_have_no_pixels() -> None:
    boxes = torch.tensor([[100.0, 100, 120, 120], [-30, -30, -10, -10], [5, 5, 5, 9], [3, 4, 6, 8]])
    pasted = paste_masks(torch.ones(4, 28, 28), boxes, (20, 30))
    assert pasted.sum(dim=(1, 2)).tolist() == [0, 0, 0, 12]
    assert paste_masks(torch.ones(0, 28, 28), boxes[:0], (20, 30)).shape == (0, 20, 30)


def test_targets_cover_the_object_in_the_box() -> None:
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[1, 10:30, 20:40] = True
    boxes = torch.tensor([[20.0, 10, 40, 30], [20, 10, 60, 30], [0, 0, 10, 10]])
    targets = mask_targets(mask, boxes, torch.tensor([1, 1, 1]), 28)
    assert targets[0].all() and not targets[2].any()
    assert targets[1, :, :14].all() and not targets[1, :, 14:].any()
    assert not mask_targets(mask, boxes, torch.tensor([0, 0, 0]), 28).any()


def test_targets_come_back_when_pasted() -> None:
    mask = circle(100, 40)[None]
    box = torch.tensor([[5.3, 7.8, 96.1, 93.2]])
    targets = mask_targets(mask, box, torch.zeros(1, dtype=torch.int64), 28)
    again = paste_masks(targets.float(), box, (100, 100))
    assert (again & mask).sum() / (again | mask).sum() > 0.97


def test_targets_without_objects_are_empty() -> None:
    targets = mask_targets(
        torch.zeros(0, 9, 9, dtype=torch.bool), torch.ones(5, 4), torch.zeros(5).long(), 28
    )
    assert targets.shape == (5, 28, 28) and not targets.any()


@pytest.mark.parametrize("classes", [1, 7])
def test_loss_is_the_mean_over_positives(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(12, classes, 28, 28, generator=generator, requires_grad=True)
    targets = torch.rand(12, 28, 28, generator=generator) > 0.5
    labels = torch.randint(7, (12,), generator=generator)
    valid = torch.arange(12) < 8
    labels[8:] = 7  # background

    chosen = torch.stack([logits[i, 0 if classes == 1 else labels[i]] for i in range(8)])
    expected = binary_cross_entropy_with_logits(chosen, targets[:8].float())
    loss = mask_loss(logits, targets, labels, valid)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad is not None and not logits.grad[8:].any() and logits.grad[:8].any()


def test_loss_without_positives_is_zero() -> None:
    logits = torch.randn(3, 2, 28, 28, requires_grad=True)
    labels, valid = torch.full((3,), 2), torch.zeros(3, dtype=torch.bool)
    loss = mask_loss(logits, torch.zeros(3, 28, 28, dtype=torch.bool), labels, valid)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()
