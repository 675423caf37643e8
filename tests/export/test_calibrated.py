"""A file of a calibrated detector gives the probabilities of its checkpoint, and explains them."""

from pathlib import Path

import numpy as np
import pytest

import centernet2
from centernet2.builders.service.serving import load_served
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.export.certificate import drawn_images
from centernet2.jobs.export import FormOptions, export
from centernet2.structures import ScoreCalibration
from tests.helpers.exported import build_two_levels, with_unknown_objects

pytestmark = pytest.mark.long  # the file is traced
CALIBRATION = ScoreCalibration((0.5, 2.0), (-1.0, 0.7), object_temperature=0.8, object_offset=0.2)
APART = ["MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.3"]


def test_probabilities_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra [export] is not installed")
    image, other = (
        each[:, :96, :128].permute(1, 2, 0).contiguous().numpy() for each in drawn_images()[:2]
    )
    detector = with_unknown_objects(build_two_levels(*APART), CALIBRATION, image)
    weights = tmp_path / "model.pth"
    save_checkpoint(weights, Checkpoint(detector.state_dict(), detector.info, 1, {}))
    export(weights=weights, output=tmp_path / "model.onnx", form=FormOptions(record=True))
    checkpoint = centernet2.load_predictor(weights, device="cpu")
    file = centernet2.load_predictor(tmp_path / "model.onnx")
    assert file.model.info.calibration == detector.info.calibration
    wanted, found = checkpoint(image), file(image)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    for name in ("scores", "objectness", "class_probability"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-3)
    steps = [
        [(step.label, step.score) for path in explanation.record.proposals for step in path.classes]
        for explanation in (checkpoint.explain(image, 30, 20), file.explain(image, 30, 20))
    ]
    assert len(steps[0]) == len(steps[1]) > 0
    np.testing.assert_allclose(steps[1], steps[0], atol=1e-3)
    checkpoint = centernet2.load_predictor(weights, device="cpu", abstain=True)
    file = centernet2.load_predictor(tmp_path / "model.onnx", abstain=True)
    (served,) = load_served([tmp_path / "model.onnx"], batch_size=1, abstain=True)
    labels: set[int] = set()
    for each in (image, image[::-1].copy(), other):
        wanted, found = checkpoint(each), file(each)
        np.testing.assert_array_equal(found.labels, wanted.labels)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)
        np.testing.assert_array_equal(served.predictor(each).labels, wanted.labels)
        labels.update(wanted.labels.tolist())
    assert {2} < labels  # unknown ones among others
