"""Inspection reports what the detector computes, and its unused proposals."""

import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.models.detector import Detector
from centernet2.models.inspect import inspect
from centernet2.models.optimize import optimize_for_inference

OPTIONS = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0"]


def small_detector(*options: str) -> Detector:
    torch.manual_seed(0)
    config = centernet2.load_config("CenterNet2_R18_small", [*OPTIONS, *options])
    return centernet2.build_model(config).eval()


def noise(count: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=random)
        for _ in range(count)
    ]


def test_scores_of_both_stages_make_the_score() -> None:
    model, images = small_detector(), noise(2)
    with torch.inference_mode():
        expected = model(images)
    for each, detections in zip(inspect(model, images, num_proposals=1000), expected, strict=True):
        for key, value in detections.items():
            assert torch.equal(each.detections[key], value)
        assert len(detections["scores"]) == 100
        joined = (each.objectness * each.class_probability).sqrt()
        torch.testing.assert_close(joined, detections["scores"])
        assert 0 < each.num_used < len(each.proposals.boxes)


@pytest.mark.parametrize("static", ["True", "False"])
def test_tied_proposals_equal_the_detector(static: str) -> None:
    """With static shapes the detector cuts ties at its limit, otherwise it keeps them."""
    model = small_detector(
        "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "20", "INPUT.STATIC_SHAPES", static
    )
    torch.nn.init.zeros_(model.proposal_generator.head.agn_hm.weight)  # all scores are equal
    images = noise(2)
    with torch.inference_mode():
        trace = model.run(images)
    used = [own.boxes[own.valid] for own in trace.proposals]
    assert len(used[0]) == 20 if static == "True" else len(used[0]) > 20
    for each, boxes, detections in zip(
        inspect(model, images, num_proposals=500), used, trace.detections, strict=True
    ):
        assert each.num_used == len(boxes) <= len(each.proposals.boxes)
        assert torch.equal(each.proposals.boxes[: each.num_used], boxes)
        assert each.proposals.valid.all()
        for key, value in detections.items():
            assert torch.equal(each.detections[key], value)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_lower_precision_equals_the_detector(dtype: str) -> None:
    model, images = optimize_for_inference(small_detector(), dtype=dtype), noise(1)
    with torch.inference_mode():
        (expected,) = model(images)
        (each,) = inspect(model, images, num_proposals=10)
    assert torch.equal(each.detections["scores"], expected["scores"])
    joined = (each.objectness * each.class_probability).sqrt()
    torch.testing.assert_close(joined, expected["scores"])


def test_uninspectable_models_are_refused() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="one-stage"):
        model = centernet2.build_model("CenterNet-FPN_R50_1x").eval()
        inspect(model, [image], num_proposals=10)
    with pytest.raises(ValueError, match="one target per image"):
        inspect(small_detector().train(), [image], num_proposals=10)
