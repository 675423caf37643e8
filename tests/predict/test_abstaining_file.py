"""An exported file that abstains detects what its detector does in PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from centernet2.builders.service.serving import _unexplained
from centernet2.export.certificate import drawn_images
from centernet2.export.exporting import ExportOptions, metadata_of
from centernet2.export.graph import DetectionGraph, GraphOptions
from centernet2.models.abstention import AbstainingDetector
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import SAME_OBJECT_IOU
from centernet2.predict import abstaining_file, exported_detector
from centernet2.predict.abstaining_file import AbstainingFile
from centernet2.predict.predictor import Predictor
from centernet2.runtime.exported_model import ExportedModel
from centernet2.structures import UNKNOWN_CLASS, ScoreCalibration
from tests.helpers.exported import build_two_levels, with_unknown_objects

RECORDED = GraphOptions(record=True)
FITTED = ScoreCalibration((0.5, 2.0), (-1.0, 0.7), object_temperature=0.8, object_offset=0.2)
IMAGES = [each[:, :96, :128].permute(1, 2, 0).contiguous().numpy() for each in drawn_images()[:2]]


class RunGraph(ExportedModel):
    """A recorded file whose graph PyTorch runs; the files of runtimes agree with it."""

    def __init__(self, detector: Detector) -> None:
        self.graph = DetectionGraph(detector, RECORDED).eval()
        options = ExportOptions(graph=RECORDED)
        self.metadata = json.loads(json.dumps(metadata_of(detector, options)))
        self.input_shape = self.metadata["input_shape"]

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> dict[str, Any]:
        outputs = self.graph(torch.from_numpy(images))
        return {name: column.numpy() for name, column in outputs.items()}


@pytest.fixture
def detector() -> Detector:
    model = build_two_levels("MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.3")
    return with_unknown_objects(model, FITTED, IMAGES[0])


def exported(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> RunGraph:
    graph = RunGraph(detector)
    monkeypatch.setattr(exported_detector, "ExportedModel", lambda path, **_: graph)
    return graph


def test_file_detects_as_the_detector(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(detector, monkeypatch)
    file = Predictor(AbstainingFile(Path("model.onnx")), batch_size=2)
    checkpoint = Predictor(AbstainingDetector(detector), batch_size=2)
    assert file.class_names == checkpoint.class_names == ("cat", "dog", UNKNOWN_CLASS)
    assert file.model.info.calibration == detector.info.calibration
    labels: set[int] = set()
    for found, wanted in zip(file(IMAGES), checkpoint(IMAGES), strict=True):
        np.testing.assert_array_equal(found.labels, wanted.labels)
        for name in ("scores", "objectness", "class_probability"):
            np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-3)
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.1)
        labels.update(found.labels.tolist())
    assert {2} < labels  # unknown ones among others
    assert abstaining_file.SAME_OBJECT_IOU == SAME_OBJECT_IOU
    assert _unexplained(file) == "augmented"
    with pytest.raises(ValueError, match="without abstention"):
        file.explain(IMAGES[0], 3, 3)


@pytest.mark.parametrize(("changes", "words"), [
    ({"rules": None}, r"model\.onnx returns its detections alone, .* --record"),
    ({"masks": True}, r"model\.onnx has no masks of unknown objects, .* use the checkpoint"),
    ({"calibration": None}, r"model\.onnx does not say .* and export that again"),
    ({"rules": {"selection": None}}, r"model\.onnx is of a one-stage detector"),
    ({"rules": {"strides": [8]}}, r"model\.onnx is of a one-stage detector"),
])  # fmt: skip
def test_file_that_cannot_abstain_is_refused(
    changes: dict[str, Any], words: str, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(detector, monkeypatch).metadata |= changes
    with pytest.raises(ValueError, match=words):
        AbstainingFile(Path("model.onnx"))
