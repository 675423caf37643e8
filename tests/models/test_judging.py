"""Judgements of given boxes agree with what the detector says about its own."""

from typing import cast

import pytest
import torch

import centernet2
from centernet2.models.inspect import inspect
from centernet2.models.judging import judge_boxes
from centernet2.models.roi_heads import BoxStage
from tests.helpers.jobs import build_untrained


def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((64, 96), (80, 64))
    return [
        torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes
    ]


def without_refinement() -> centernet2.Detector:
    """Build a detector whose second stage leaves boxes where they are."""
    model = build_untrained().eval()
    assert model.roi_heads is not None
    for stage in model.roi_heads.stages:
        predictor = cast(BoxStage, stage).bbox_pred
        torch.nn.init.zeros_(predictor.weight)
        torch.nn.init.zeros_(predictor.bias)
    return model


def test_own_boxes_are_judged_as_detected() -> None:
    model = without_refinement()
    inspected = inspect(model, images())
    given = [each.detections["boxes"] for each in inspected]
    for judgement, own in zip(judge_boxes(model, images(), given), inspected, strict=True):
        labels = own.detections["labels"]
        assert len(labels) > 0
        torch.testing.assert_close(judgement.boxes, own.detections["boxes"])
        chosen = judgement.probabilities.gather(1, labels[:, None])[:, 0]
        torch.testing.assert_close(chosen, own.class_scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(judgement.detections["scores"], own.detections["scores"])


def test_images_do_not_depend_on_each_other() -> None:
    model, first = build_untrained().eval(), images()[:1]
    boxes = torch.tensor([[4.0, 4, 40, 30], [10, 20, 90, 60]])
    alone = judge_boxes(model, first, [boxes])[0]
    beside = judge_boxes(model, [*first, *first], [boxes[:0], boxes])
    assert beside[0].boxes.shape == (0, 4) and beside[0].probabilities.shape[1] == 2
    torch.testing.assert_close(beside[1].boxes, alone.boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(beside[1].probabilities, alone.probabilities, atol=1e-5, rtol=1e-4)
    assert judge_boxes(model, first, [boxes[:0]])[0].boxes.shape == (0, 4)


def test_boxes_of_each_class_move_by_the_best_class() -> None:
    model = build_untrained(
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG",
        "False",
        "MODEL.ROI_HEADS.NAME",
        "CustomROIHeads",
    ).eval()
    (judgement,) = judge_boxes(model, images()[:1], [torch.tensor([[4.0, 4, 40, 30]])])
    assert judgement.boxes.shape == (1, 4) and judgement.probabilities.shape == (1, 2)


def test_one_stage_detector_is_refused() -> None:
    model = build_untrained().eval()
    model.roi_heads = None
    with pytest.raises(ValueError, match="a one-stage detector has no second stage"):
        judge_boxes(model, images(), [torch.zeros(0, 4)] * 2)
