"""Files that OpenVINO's Model API opens without this package."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.export.certificate import batches_of
from centernet2.export.exporting import ExportOptions, export_detector
from centernet2.export.graph import GraphOptions
from centernet2.models.detector import Detector
from centernet2.runtime.exported_model import ExportedModel
from tests.helpers.exported import build_two_levels

openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
SIZE = (96, 128)
SHAPE = GraphOptions(batch=1, size=SIZE)
NAMES = ("traffic light", "cat")


def named(*overrides: str) -> Detector:
    detector = build_two_levels(*overrides)
    detector.info = replace(detector.info, class_names=NAMES)
    return detector


def write(detector: Detector, folder: Path) -> Path:
    options = ExportOptions(SHAPE, format="model-api")
    export_detector(detector, folder / "model.xml", options)  # it compares the detections
    return folder / "model.xml"


def key(model: Any, name: str) -> str:
    value: str = model.get_rt_info(["model_info", name]).astype(str)
    return value


@pytest.mark.slow
def test_file_is_what_the_wrapper_for_boxes_takes(tmp_path: Path) -> None:
    """The requirements of openvino-model-api 0.4.7: models/ssd.py and models/image_model.py."""
    model = openvino.Core().read_model(write(named(), tmp_path))
    (images,) = model.inputs
    assert list(images.shape) == [1, 3, *SIZE]
    outputs = {output.get_any_name(): output.partial_shape for output in model.outputs}
    with_scores = [name for name, shape in outputs.items() if shape[-1] == 5 and len(shape) == 3]
    assert with_scores == ["boxes"] and [name for name in outputs if "labels" in name] == ["labels"]
    assert len(outputs) == 2, "one output would be taken for another layout"
    assert key(model, "model_type") == "SSD" and key(model, "reverse_input_channels") == "True"
    assert key(model, "labels").split() == ["traffic_light", "cat"]


@pytest.mark.long
@pytest.mark.parametrize("masks", [False, True])
def test_model_api_gives_the_same_detections(masks: bool, tmp_path: Path) -> None:
    pytest.importorskip("model_api", reason="openvino-model-api, with its OpenCV, is not installed")
    from model_api.adapters import OpenvinoAdapter
    from model_api.models import Model

    path = write(named("MODEL.MASK_ON", str(masks)), tmp_path)
    in_fp32 = {"INFERENCE_PRECISION_HINT": "f32"}
    adapter = OpenvinoAdapter(openvino.Core(), str(path), device="CPU", plugin_config=in_fp32)
    model = Model.create_model(adapter, configuration={"confidence_threshold": 0.0})
    for (image,) in batches_of([], SHAPE):
        (expected,) = ExportedModel(path).detect(image[None].numpy())
        found = model(image.flip(0).permute(1, 2, 0).contiguous().numpy())  # BGR
        sides = expected["boxes"].round()
        large = (sides[:, 2:] - sides[:, :2]).prod(axis=1) > 1  # it drops the others
        assert large.any()
        np.testing.assert_array_equal(found.bboxes, sides[large])
        np.testing.assert_allclose(found.scores, expected["scores"][large], atol=1e-6)
        labels = ["traffic_light", "cat"]
        assert found.label_names == [labels[label] for label in expected["labels"][large]]
        assert not masks or found.masks.shape == (large.sum(), *SIZE)
