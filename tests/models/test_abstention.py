"""A detector that abstains detects objects of none of its classes as unknown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

import centernet2
from centernet2.builders.prediction.prediction_options import DetectionOptions
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.evaluation.unknown_fit import LOST_SHARE, unknown_record, with_unknown
from centernet2.export.certificate import drawn_images
from centernet2.jobs.predict import predict
from centernet2.models.abstention import AbstainingDetector
from centernet2.models.detector import Detector
from centernet2.models.inspect import inspect
from centernet2.structures import UNKNOWN_CLASS, Detections, ScoreCalibration, UnknownObjects
from tests.helpers.data import load_split
from tests.helpers.exported import build_two_levels
from tests.helpers.jobs import save_untrained, write_photographs
from tests.helpers.training import write_blocks

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
    assert (unknown.object_scores.diff() <= 0).all()
    assert (unknown.novelty > 0).all()
    height, width = image.shape[1:]
    assert (unknown.boxes <= torch.tensor([width, height, width, height])).all()


def test_at_most_a_share_of_known_objects_is_lost() -> None:
    rng = np.random.default_rng(0)
    count = 200
    novelty, scores = rng.random(count), rng.uniform(0.5, 1, count)
    found = rng.random(count) < 0.8
    record = {
        "novelty": [*novelty, *rng.random(50)],
        "object_score": [*scores, *rng.uniform(0, 0.4, 50)],  # the background
        "on_object": [True] * count + [False] * 50,
        "found": [*found.tolist(), *[False] * 50],
    }
    fitted = with_unknown(PLAIN, [{"unknown": record}], count)
    assert fitted.unknown_from is not None
    least, objectness = fitted.unknown_from
    assert 0.4 < objectness <= scores.min() + 1e-6
    lost = (novelty[found] >= least).mean()
    assert LOST_SHARE - 0.02 < lost <= LOST_SHARE
    nothing = {**record, "found": [False] * 250}
    fitted = with_unknown(PLAIN, [{"unknown": nothing}], count)
    assert fitted.unknown_from == (0.0, objectness)
    assert with_unknown(PLAIN, [], 0).unknown_from is None


def test_record_tells_found_objects_from_others(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    truth = load_split(data, "val")
    boxes, scores = torch.from_numpy(truth.boxes(slice(0, 1))), torch.tensor([0.9])
    unknown = UnknownObjects(boxes, scores, scores, torch.tensor([0]))

    def record(boxes: Tensor, *labels: int) -> dict[str, list[bool]]:
        found: Detections = {
            "boxes": boxes.expand(len(labels), 4),
            "scores": torch.linspace(0.9, 0.5, len(labels)),
            "labels": torch.tensor(labels),
        }
        columns: dict[str, list[bool]] = unknown_record(unknown, boxes, found, truth, 0)["unknown"]
        return {name: columns[name] for name in ("on_object", "found")}

    assert record(boxes, 0, 1) == {"on_object": [True], "found": [True]}
    assert record(boxes, 1, 0) == {"on_object": [True], "found": [False]}  # the best is wrong
    assert record(boxes) == {"on_object": [True], "found": [False]}
    assert record(boxes + 100, 0) == {"on_object": [False], "found": [False]}


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
