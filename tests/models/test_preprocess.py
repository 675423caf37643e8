"""Images that a detector takes, and the messages about others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from centernet2.models import preprocess
from centernet2.models.detector import Detector
from centernet2.models.preprocess import check_images
from tests.helpers.jobs import build_untrained

IMAGE = torch.zeros(3, 8, 9, dtype=torch.uint8)


@pytest.mark.parametrize("images", [
    [IMAGE],
    (IMAGE,),
    torch.stack([IMAGE]),
    [torch.full((3, 8, 9), 255.0)],
    [torch.zeros(3, 8, 9)],
    [IMAGE.long()],
    [torch.tensor([-3.0, 261.0, 0.4]).repeat_interleave(72).view(3, 8, 9)],  # resized
    [torch.tensor([0.0, 1.0, 0.0]).repeat_interleave(72).view(3, 8, 9)],  # at night
])  # fmt: skip
def test_lists_of_pixels_are_taken(images: Any) -> None:
    (image,) = check_images(images)
    assert image.shape == IMAGE.shape


@pytest.mark.parametrize(("images", "words"), [
    (IMAGE, r"list of images, not uint8 \[3, 8, 9\]; write model\(\[image\]\)"),
    (IMAGE.numpy(), "list of images, .*not a ndarray"),
    ("a.jpg", "list of images, .*not of type str; a Predictor takes paths"),
    (Path("a.jpg"), "list of images, .*a Predictor takes paths"),
    (None, "list of images"),
    ({"image": IMAGE}, "list of images, .*not a dict"),
    ([IMAGE, "a.jpg"], r"images\[1\] is of type str"),
    ([np.zeros((8, 9, 3), np.uint8)], r"images\[0\] is a ndarray"),
    ([IMAGE[0]], r"images\[0\] is uint8 \[8, 9\]"),
    ([IMAGE.permute(1, 2, 0)], r"images\[0\] is uint8 \[8, 9, 3\]"),
    ([IMAGE[:, :0]], r"images\[0\] is uint8 \[3, 0, 9\]"),
    ([IMAGE.bool()], r"images\[0\] is bool"),
    ([torch.rand(3, 8, 9)], "takes pixels in 0..255 and normalizes them itself"),
    ([torch.rand(3, 8, 9) * 3 - 0.4], "leave out scaling and normalization"),
    ([torch.rand(3, 8, 9) * 255 - 103], "leave out scaling and normalization"),
    ([torch.full((3, 8, 9), 300.0)], "values from 300 to 300"),
    ([torch.randn(3, 8, 9) * 9], "leave out scaling and normalization"),
    ([torch.full((3, 8, 9), float("nan"))], "has values from nan to nan"),
])  # fmt: skip
def test_other_inputs_are_named(images: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_images(images)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_untrained().eval()


def test_detector_checks_its_images(detector: Detector) -> None:
    assert detector([]) == detector.detect([]) == detector.propose([]) == []
    assert detector.num_classes == 2
    for call in (detector, detector.detect, detector.propose, detector.run):
        with pytest.raises(ValueError, match=r"write model\(\[image\]\)"):
            call(IMAGE)


def test_values_are_examined_once(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since each time waits for the device."""
    examined: list[int] = []
    monkeypatch.setattr(preprocess, "_require_image", lambda image, index: examined.append(index))
    detector([torch.full((3, 64, 64), 9.0)] * 2)
    assert examined == [0, 1]


def test_detections_of_a_call_are_ordinary_tensors(detector: Detector) -> None:
    with torch.no_grad():
        (own,) = detector([torch.zeros(3, 64, 64, dtype=torch.uint8)])
    assert not any(value.is_inference() for value in own.values())
