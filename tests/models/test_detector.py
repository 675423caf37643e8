"""What the whole detector does at the edges; tests/test_reference.py has its numbers."""

import pytest
import torch

import centernet2


def test_a_batch_without_objects_has_finite_losses() -> None:
    model = centernet2.build_model("CenterNet2_R18_small").train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = model([torch.zeros(3, 64, 96, dtype=torch.uint8)], [empty])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="one target per image"):
        centernet2.build_model("CenterNet2_R18_small").train()(
            [torch.zeros(3, 64, 64, dtype=torch.uint8)]
        )


def test_a_first_stage_that_proposes_nothing_is_refused() -> None:
    config = centernet2.load_config(
        "CenterNet2_R18_small", ["MODEL.CENTERNET.ONLY_PROPOSAL", "False"]
    )
    with pytest.raises(centernet2.ConfigError, match="ONLY_PROPOSAL"):
        centernet2.build_model(config)
