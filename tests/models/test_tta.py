"""Test-time augmentation: one form alone changes nothing, the mirrored form mirrors, masks are means."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.builders.loading import config_of
from centernet2.builders.network import build_augmented
from centernet2.models.detector import Detector
from centernet2.models.tta import TestTimeAugmentation
from tests.helpers.fill import picture
from tests.helpers.reference import GOLDEN, agreement, reference_model

SETTINGS = [
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.001", "MODEL.CENTERNET.INFERENCE_TH", "0.0", "MODEL.MASK_ON", "True",
    "MODEL.ROI_MASK_HEAD.NUM_CONV", "1", "MODEL.ROI_MASK_HEAD.CONV_DIM", "16", "TEST.DETECTIONS_PER_IMAGE", "20",
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    return centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", SETTINGS)).eval()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randint(
        0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def augmented(
    model: Detector,
    *,
    flip: bool,
    merge: str = "nms",
    resizes: tuple[Callable[[Tensor], Tensor], ...] = (lambda x: x,),
) -> TestTimeAugmentation:
    return TestTimeAugmentation(
        model, resizes=resizes, flip=flip, merge=merge, nms_thresh=0.99, limit=20
    )


def test_one_form_alone_is_the_detector_itself(model: Detector, image: Tensor) -> None:
    with torch.inference_mode():
        expected = model([image])[0]
        found = augmented(model, flip=False)([image])[0]
    assert len(found["boxes"]) > 10
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-4)


def test_the_mirrored_image_gives_the_mirrored_result(model: Detector, image: Tensor) -> None:
    """Both forms of an image are both forms of its mirror image."""
    augment = augmented(model, flip=True)
    plain, mirrored = (augment([each])[0] for each in (image, image.flip(-1)))
    torch.testing.assert_close(plain["scores"], mirrored["scores"])
    x1, y1, x2, y2 = mirrored["boxes"].unbind(1)
    torch.testing.assert_close(
        torch.stack([128 - x2, y1, 128 - x1, y2], 1), plain["boxes"], rtol=0, atol=1e-3
    )
    torch.testing.assert_close(
        mirrored["box_masks"].flip(-1), plain["box_masks"], rtol=0, atol=1e-4
    )


def test_boxes_of_other_sizes_are_in_pixels_of_the_image(model: Detector, image: Tensor) -> None:
    """The image twice as large, looked at in half the size, is the image."""
    double = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    found = augmented(model, flip=False, resizes=(lambda x: x[:, ::2, ::2],))([double])[0]
    expected = augmented(model, flip=False)([image])[0]
    torch.testing.assert_close(found["boxes"], 2 * expected["boxes"], rtol=0, atol=1e-3)
    assert found["masks"].shape == (len(found["boxes"]), 192, 256)


def test_fusion_averages_over_all_forms(model: Detector, image: Tensor) -> None:
    found = augmented(model, flip=True, merge="wbf")([image])[0]
    assert 0 < len(found["boxes"]) <= 20
    assert (found["scores"][:-1] >= found["scores"][1:]).all()


def test_settings_name_the_forms(model: Detector) -> None:
    config = centernet2.load_config(
        "CenterNet2_R18_small", ["TEST.AUG.MIN_SIZES", "(64, 96)", "TEST.AUG.FLIP", "False"]
    )
    augment = build_augmented(config, model)
    assert [resize.length for resize in augment.resizes] == [64, 96] and not augment.flip
    with pytest.raises(
        centernet2.ConfigError, match=r"TEST.AUG.MERGE is 'mean'; choose one of nms, wbf"
    ):
        build_augmented(config.override(["TEST.AUG.MERGE", "mean"]), model)


def test_the_merged_detections_are_detectron2s(tmp_path: Path) -> None:
    """GeneralizedRCNNWithTTA around the reference's detector, with each image and its mirror image in one batch."""
    golden = json.loads((GOLDEN / "test_time_augmentation.json").read_text())
    model = reference_model(golden["config"], tmp_path, tuple(golden["options"])).eval()
    image = torch.from_numpy(picture(*golden["picture"])[0]).permute(2, 0, 1)
    (found,) = build_augmented(config_of(model.info), model)([image])
    expected = {key: np.array(golden[key]) for key in ("boxes", "scores", "labels")}
    assert len(found["boxes"]) == len(expected["boxes"])
    assert agreement(dict(found), expected) >= 0.95
