"""Judgements of given boxes agree with what the detector says about its own."""

import pytest
import torch

from centernet2.models.inspect import inspect
from centernet2.models.judging import judge_boxes
from tests.helpers.jobs import build_untrained


def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((64, 96), (80, 64))
    return [
        torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes
    ]


def test_proposals_are_judged_as_in_detection() -> None:
    model = build_untrained().eval()
    trace = model.run(images())
    given = [own.boxes[rows] for own, rows in zip(trace.proposals, trace.sources, strict=True)]
    judgements = judge_boxes(model, images(), given)
    for judgement, own in zip(judgements, inspect(model, images()), strict=True):
        labels = own.detections["labels"]
        assert len(labels) > 0
        torch.testing.assert_close(judgement.boxes, own.detections["boxes"], atol=1e-3, rtol=1e-4)
        chosen = judgement.probabilities.gather(1, labels[:, None])[:, 0]
        torch.testing.assert_close(chosen, own.class_probability, atol=1e-5, rtol=1e-4)
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
    options = ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "False"]
    model = build_untrained(*options, "MODEL.ROI_HEADS.NAME", "CustomROIHeads").eval()
    given = torch.tensor([[4.0, 4, 40, 30]])
    trace = model.run(images()[:1])
    assert trace.stages[-1].boxes.shape[1] == 2
    (judgement,) = judge_boxes(model, images()[:1], [given])
    assert model.roi_heads is not None
    levels = [trace.features[name] for name in model.roi_heads.in_features]
    limits = torch.tensor([[96.0, 64, 96, 64]])
    (output,) = model.roi_heads.refine(levels, torch.tensor([[0.0, 4, 4, 40, 30]]), limits)
    best = int(judgement.probabilities[0].argmax())
    wanted = output.boxes[:, best].clamp(min=0).minimum(limits)
    torch.testing.assert_close(judgement.boxes, wanted, atol=1e-3, rtol=1e-4)


def test_one_stage_detector_is_refused() -> None:
    model = build_untrained().eval()
    model.roi_heads = None
    with pytest.raises(ValueError, match="a one-stage detector has no second stage"):
        judge_boxes(model, images(), [torch.zeros(0, 4)] * 2)
