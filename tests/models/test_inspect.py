"""What the stages say of an image fits what the detector finds in it."""

import pytest
import torch

import centernet2
from centernet2.models.inspect import inspect

SETTINGS = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0"]


def test_scores_of_the_stages_make_the_score_of_the_detection() -> None:
    torch.manual_seed(0)
    config = centernet2.load_config("CenterNet2_R18_small", SETTINGS)
    model = centernet2.build_model(config).eval()
    images = [torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8) for _ in range(2)]
    with torch.inference_mode():
        expected = model(images)
    found = inspect(model, images, num_proposals=1000)
    for each, detections in zip(found, expected, strict=True):
        for key, value in detections.items():
            assert torch.equal(each.detections[key], value)
        assert len(detections["scores"]) == 100
        torch.testing.assert_close(
            (each.object_scores * each.class_scores).sqrt(), detections["scores"]
        )
        assert (
            each.num_used
            == config.decoder.inference.post_nms_topk
            < len(each.proposals.boxes)
            <= 1000
        )


def test_one_stage_has_nothing_to_compare() -> None:
    model = centernet2.build_model("CenterNet-FPN_R50_1x").eval()
    with pytest.raises(ValueError, match="one-stage"):
        inspect(model, [torch.zeros(3, 32, 32, dtype=torch.uint8)], num_proposals=10)
