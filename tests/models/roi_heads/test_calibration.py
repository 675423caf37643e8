"""Calibrated detectors find what they found before, with probabilities for scores."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from centernet2.export.certificate import drawn_images
from centernet2.export.graph import DetectionGraph, GraphOptions
from centernet2.export.program import exportable
from centernet2.images.stored_image import to_pixels
from centernet2.models.detector import Detector
from centernet2.models.explain.proposal_paths import PathReader
from centernet2.models.explain.trace_reader import TraceReader
from centernet2.models.explain.traced_image import traced_image
from centernet2.models.inspect import inspect
from centernet2.models.roi_heads import calibrated_scores
from centernet2.predict.pytorch_detector import PyTorchDetector
from centernet2.runtime.exported_model import split_images
from centernet2.structures import ScoreCalibration
from tests.helpers.exported import build_two_levels

CALIBRATION = ScoreCalibration((0.5, 2.0), (-1.0, 0.7), object_temperature=0.8, object_offset=0.2)


def detectors() -> tuple[Detector, Detector]:
    """Return a detector, and the same one calibrated."""
    plain = build_two_levels()
    calibrated = deepcopy(plain)
    assert calibrated.roi_heads is not None
    calibrated.roi_heads.selection.calibration = CALIBRATION
    return plain, calibrated


def test_classes_keep_their_detections_and_order() -> None:
    image = drawn_images()[0]
    before, after = (inspect(model, [image])[0].detections for model in detectors())
    assert set(before["labels"].tolist()) == {0, 1}
    assert (after["scores"].diff() <= 0).all()
    for label in (0, 1):
        rows, new_rows = before["labels"] == label, after["labels"] == label
        torch.testing.assert_close(after["boxes"][new_rows], before["boxes"][rows])
        expected = calibrated_scores(CALIBRATION, before["scores"][rows], before["labels"][rows])
        torch.testing.assert_close(after["scores"][new_rows], expected)


def test_score_is_sigmoid_of_scaled_logit() -> None:
    scores, labels = torch.tensor([0.3, 0.6]), torch.tensor([1, 0])
    logits = np.log(np.array([0.3 / 0.7, 0.6 / 0.4])) / [2.0, 0.5] + [0.7, -1.0]
    torch.testing.assert_close(
        calibrated_scores(CALIBRATION, scores, labels).double(),
        torch.from_numpy(1 / (1 + np.exp(-logits))),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    ends = calibrated_scores(CALIBRATION, torch.tensor([0.0, 1.0]), torch.tensor([0, 0]))
    assert ends.isfinite().all()


def test_score_is_the_product_of_both_probabilities() -> None:
    (found,) = inspect(detectors()[1], [drawn_images()[0]])
    scores = found.detections["scores"]
    torch.testing.assert_close(found.objectness * found.class_probability, scores)
    assert (found.objectness <= 1).all() and (found.class_probability <= 1).all()


def test_graph_gives_the_calibrated_probabilities() -> None:
    images, calibrated = torch.stack(drawn_images()[:1]), detectors()[1]
    with torch.no_grad():
        outputs = DetectionGraph(exportable(calibrated), GraphOptions())(images)
    (own,) = split_images({name: each.numpy() for name, each in outputs.items()}, 1)
    (found,) = PyTorchDetector(calibrated).detect([to_pixels(images[0])])
    names = {"object_scores": "objectness", "class_scores": "class_probability"}
    for name in ("scores", "labels", *names):
        wanted = found[names.get(name, name)]
        np.testing.assert_allclose(own[name], wanted, rtol=1e-3, atol=1e-4, err_msg=name)


def test_explanation_states_calibrated_scores() -> None:
    calibrated = detectors()[1]
    with torch.no_grad():
        traced = traced_image(calibrated, calibrated.run(drawn_images()[:1]))
    trace = TraceReader(traced, (1.0, 1.0))
    assert trace.selection is not None
    reader, scores = PathReader(trace, trace.selection), trace.detections["scores"].tolist()
    paths = [reader.path(row) for row in range(len(trace.proposals.boxes))]
    steps = [step for path in paths for step in path.classes]
    found = [step for step in steps if step.detection is not None]
    assert sorted({step.detection for step in found}) == list(range(len(scores)))
    for step in found:
        assert step.score == pytest.approx(scores[step.detection], abs=1e-6)
    rivals = [step.cut.by for step in steps if step.cut and step.cut.by]
    assert any(rival.row is not None for rival in rivals)
    for rival in rivals:
        if rival.row is not None:
            assert rival.score == pytest.approx(scores[rival.row], abs=1e-6)
