"""The workload of a measurement: full selections, and targets that fit."""

from dataclasses import replace

import pytest
import torch

from centernet2.profiling.workload import (
    TARGETS_PER_IMAGE,
    count_selected,
    fill_selections,
    make_images,
    make_targets,
)
from tests.helpers.networks import build


@pytest.mark.parametrize("kind", ["two-stage", "masks", "one-stage"])
def test_selections_are_full_with_untrained_weights(kind: str) -> None:
    model, images = build(kind).eval(), make_images(2, (64, 96))
    fill_selections(model, images)
    selected = count_selected(model, images)
    first = model.proposal_generator
    if kind == "one-stage":
        assert selected.proposals == selected.detections > 0
    else:
        assert model.roi_heads is not None
        selection = model.roi_heads.selection
        selection.options = replace(selection.options, detections_per_image=7)
        fill_selections(model, images)
        assert count_selected(model, images).detections == 2 * 7
        assert selected.proposals >= 2 * first.decoder.options.inference.post_nms_topk


def test_targets_fit_images_and_have_masks() -> None:
    model, images = build("masks"), make_images(2, (64, 96))
    assert torch.equal(images[0], make_images(1, (64, 96))[0]) and not torch.equal(
        images[0], images[1]
    )
    for target in make_targets(model, images):
        boxes = target["boxes"]
        assert len(boxes) == TARGETS_PER_IMAGE and (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.min() >= 0 and boxes[:, [0, 2]].max() <= 96 and boxes[:, [1, 3]].max() <= 64
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
        assert ((target["masks"].sum(dim=(1, 2)) - width * height).abs() < width + height + 2).all()
