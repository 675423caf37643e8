"""Test-time augmentation: one view, mirror images, several sizes, merging, masks."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.builders.detector.loading import config_of
from centernet2.builders.detector.network import build_augmented
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference
from centernet2.models.tta import TestTimeAugmentation
from tests.helpers.fill import picture
from tests.helpers.reference import GOLDEN, agreement, reference_model

OPTIONS = [
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.001", "MODEL.CENTERNET.INFERENCE_TH", "0.0",
    "MODEL.MASK_ON", "True", "MODEL.ROI_MASK_HEAD.NUM_CONV", "1",
    "MODEL.ROI_MASK_HEAD.CONV_DIM", "16", "TEST.DETECTIONS_PER_IMAGE", "20",
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    return centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", OPTIONS)).eval()


@pytest.fixture(scope="module")
def image() -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=random)


def augmented(
    model: Detector,
    *,
    flip: bool,
    merge: str = "nms",
    resizes: tuple[Callable[[Tensor], Tensor], ...] = (lambda x: x,),
) -> TestTimeAugmentation:
    return TestTimeAugmentation(
        model, resizes=resizes, flip=flip, merge=merge, nms_threshold=0.99, limit=20
    )


def test_one_view_equals_the_detector(model: Detector, image: Tensor) -> None:
    with torch.inference_mode():
        expected = model([image])[0]
        detections = augmented(model, flip=False)([image])[0]
    assert len(detections["boxes"]) > 10
    for key, value in expected.items():
        torch.testing.assert_close(detections[key], value, rtol=0, atol=1e-4)


def test_mirrored_image_gives_mirrored_detections(model: Detector, image: Tensor) -> None:
    """Both views of an image are also those of its mirror image."""
    augment = augmented(model, flip=True)
    plain, mirrored = (augment.detect([each])[0] for each in (image, image.flip(-1)))
    torch.testing.assert_close(plain["scores"], mirrored["scores"])
    x1, y1, x2, y2 = mirrored["boxes"].unbind(1)
    unmirrored = torch.stack([128 - x2, y1, 128 - x1, y2], 1)
    torch.testing.assert_close(unmirrored, plain["boxes"], rtol=0, atol=1e-3)
    masks = mirrored["box_masks"].flip(-1)
    torch.testing.assert_close(masks, plain["box_masks"], rtol=0, atol=1e-4)


def test_boxes_are_in_pixels_of_the_image(model: Detector, image: Tensor) -> None:
    """An image of twice the size, looked at in half of it, is the image."""
    double = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    augment = augmented(model, flip=False, resizes=(lambda x: x[:, ::2, ::2],))
    detections = augment([double])[0]
    expected = augmented(model, flip=False)([image])[0]
    torch.testing.assert_close(detections["boxes"], 2 * expected["boxes"], rtol=0, atol=1e-3)
    assert detections["masks"].shape == (len(detections["boxes"]), 192, 256)


def test_weighted_box_fusion_of_views(model: Detector, image: Tensor) -> None:
    detections = augmented(model, flip=True, merge="wbf")([image])[0]
    assert 0 < len(detections["boxes"]) <= 20
    assert (detections["scores"][:-1] >= detections["scores"][1:]).all()


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_lower_precision_with_masks(dtype: str, model: Detector, image: Tensor) -> None:
    fast = optimize_for_inference(copy.deepcopy(model), dtype=dtype)
    with torch.inference_mode():
        detections = augmented(fast, flip=True).detect([image])[0]
        expected = augmented(model, flip=True).detect([image])[0]
    assert detections["box_masks"].shape == expected["box_masks"].shape
    for key in ("scores", "box_masks"):
        torch.testing.assert_close(detections[key], expected[key], rtol=0, atol=0.05)


def test_options_give_sizes_flip_and_merge(model: Detector) -> None:
    config = centernet2.load_config(
        "CenterNet2_R18_small", ["TEST.AUG.MIN_SIZES", "(64, 96)", "TEST.AUG.FLIP", "False"]
    )
    augment = build_augmented(config, model)
    assert [resize.length for resize in augment.resizes] == [64, 96] and augment.flips == (False,)
    with pytest.raises(
        centernet2.ConfigError, match=r"TEST.AUG.MERGE is 'mean'; choose one of nms, wbf"
    ):
        build_augmented(config.override(["TEST.AUG.MERGE", "mean"]), model)


def test_merged_detections_equal_detectron2s(tmp_path: Path) -> None:
    """Compare with GeneralizedRCNNWithTTA on an image and its mirror image."""
    golden = json.loads((GOLDEN / "test_time_augmentation.json").read_text())
    model = reference_model(golden["config"], tmp_path, tuple(golden["options"])).eval()
    image = torch.from_numpy(picture(*golden["picture"])[0]).permute(2, 0, 1)
    (detections,) = build_augmented(config_of(model.info), model)([image])
    expected = {key: np.array(golden[key]) for key in ("boxes", "scores", "labels")}
    assert len(detections["boxes"]) == len(expected["boxes"])
    assert agreement(dict(detections), expected) >= 0.95
