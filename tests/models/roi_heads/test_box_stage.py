"""The classes of the federated loss."""

import pytest
import torch

from centernet2.models.roi_heads.box_stage import federated_classes

DRAWS = 1000


def test_classes_without_an_roi_are_drawn_by_weight() -> None:
    """One more than class 1 and the background: 0 or 3. Padding has class 4."""
    weight, labels = torch.tensor([1.0, 3, 0, 2, 0]), torch.tensor([1, 5, 5, 4])
    valid, generator = torch.tensor([True, True, True, False]), torch.Generator().manual_seed(0)
    drawn = torch.stack(
        [federated_classes(labels, valid, weight, 3, generator=generator) for _ in range(DRAWS)]
    )
    assert (drawn.sum(dim=1) == 2).all()
    assert drawn.mean(dim=0).tolist() == pytest.approx([1 / 3, 1, 0, 2 / 3, 0], abs=0.05)
    every = federated_classes(labels, valid, weight, 9, generator=generator)
    assert every.tolist() == [1, 1, 0, 1, 0]
    enough = federated_classes(labels, valid, weight, 1, generator=generator)
    assert enough.tolist() == [0, 1, 0, 0, 0]
