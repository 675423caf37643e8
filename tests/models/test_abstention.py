"""A detector that abstains detects objects of none of its classes as unknown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

import centernet2
from centernet2.builders.prediction.prediction_options import DetectionOptions
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.export.certificate import drawn_images
from centernet2.jobs.predict import predict
from centernet2.models.abstention import AbstainingDetector
from centernet2.models.detector import Detector
from centernet2.models.inspect import inspect
from centernet2.structures import UNKNOWN_CLASS, ScoreCalibration
from tests.helpers.exported import build_two_levels
from tests.helpers.jobs import save_untrained, write_photographs

PLAIN = ScoreCalibration((1.0, 1.0), (0.0, 0.0))


def calibrated(*overrides: str, novelty: float) -> Detector:
    """Return a detector whose objects are unknown from a novelty."""
    model = build_two_levels("MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.3", *overrides)
    calibration = replace(PLAIN, unknown_from=(novelty, 0.0))
    assert model.roi_heads is not None
    model.roi_heads.selection.calibration = calibration
    model.info = replace(
        model.info, class_names=("cat", "dog"), score_thresholds=(0.4, 0.5),
        calibration=calibration,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("masks", ["False", "True"])
def test_unknown_objects_take_the_place_of_classes(masks: str) -> None:
    images = drawn_images()[:1]
    (found,) = inspect(calibrated("MODEL.MASK_ON", masks, novelty=0.0), images, unknown=True)
    assert found.unknown is not None
    middle = float(found.unknown.novelty.median())
    model = AbstainingDetector(calibrated("MODEL.MASK_ON", masks, novelty=middle))
    assert model.info.class_names == ("cat", "dog", UNKNOWN_CLASS) and model.num_classes == 3
    assert model.info.score_thresholds == (0.4, 0.5, 0.0)
    (own,) = model.detect(images)
    is_unknown = own["labels"] == 2
    expected = found.unknown.novelty >= middle
    assert 0 < int(expected.sum()) < len(expected)
    boxes = found.unknown.boxes[expected]
    assert sorted(own["boxes"][is_unknown].tolist()) == sorted(boxes.tolist())
    assert torch.equal(own["objectness"][is_unknown], own["scores"][is_unknown])
    away = box_iou(found.detections["boxes"], boxes).amax(dim=1) < 0.5
    assert int((~is_unknown).sum()) == int(away.sum())
    assert (own["scores"].diff() <= 0).all()
    assert ("box_masks" in own) == (masks == "True")


def test_objects_are_apart_and_clipped() -> None:
    image = drawn_images()[0]
    (found,) = inspect(build_two_levels(), [image], unknown=True)
    unknown = found.unknown
    assert unknown is not None and len(unknown.boxes) > 1
    iou = box_iou(unknown.boxes, unknown.boxes) - torch.eye(len(unknown.boxes))
    assert (iou <= 0.5).all()
    assert (unknown.objectness.diff() <= 0).all()
    assert (unknown.novelty > 0).all()
    height, width = image.shape[1:]
    assert (unknown.boxes <= torch.tensor([width, height, width, height])).all()


def test_predictor_abstains(tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"do not say from when .* `centernet2 threshold`"):
        centernet2.load_predictor(weights, device="cpu", abstain=True)
    checkpoint = load_checkpoint(weights)
    info = replace(checkpoint.info, calibration=replace(PLAIN, unknown_from=(0.0, 0.0)))
    save_checkpoint(weights, replace(checkpoint, info=info))
    predictor = centernet2.load_predictor(weights, device="cpu", abstain=True)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    prediction = predictor(image)
    assert len(prediction) > 0 and set(prediction.names) == {UNKNOWN_CLASS}
    np.testing.assert_array_equal(prediction.objectness, prediction.scores)
    photos = write_photographs(tmp_path / "photos", count=1)
    predict(
        photos, weights=weights, output=tmp_path / "found", write=["json"], score_threshold=0.0,
        detection=DetectionOptions(abstain=True),
    )  # fmt: skip
    (record,) = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert {each["class"] for each in record["detections"]} == {UNKNOWN_CLASS}
    with pytest.raises(ValueError, match="without abstention"):
        predictor.explain(image, 3, 3)
    overrides = ["TEST.AUG.ENABLED", "True"]
    with pytest.raises(ValueError, match=r"set TEST\.AUG\.ENABLED False"):
        centernet2.load_predictor(weights, overrides, device="cpu", abstain=True)
