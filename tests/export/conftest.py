"""An exported file that the tests of all formats share: tracing takes half a minute."""

import json
from pathlib import Path

import pytest

from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.export.openvino_file import save_openvino
from centernet2.jobs.export import FormOptions, export
from centernet2.models.detector import Detector
from centernet2.runtime.exported_model import ExportedModel
from tests.helpers.exported import build_two_levels


@pytest.fixture(scope="session")
def detector() -> Detector:
    return build_two_levels("MODEL.MASK_ON", "True")


@pytest.fixture(scope="session")
def exported(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded ONNX file of the detector, weights in model.pth: any size and batch."""
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra [export] is not installed")
    folder = tmp_path_factory.mktemp("exported")
    weights = folder / "model.pth"
    save_checkpoint(weights, Checkpoint(detector.state_dict(), detector.info, 1, {}))
    export(weights=weights, output=folder / "model.onnx", form=FormOptions(record=True))
    return folder / "model.onnx"


@pytest.fixture(scope="session")
def converted(exported: Path) -> Path:
    """The OpenVINO file of the detector."""
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    metadata = json.dumps(dict(ExportedModel(exported).metadata))
    path = exported.with_name("converted.xml")
    save_openvino(exported, path, metadata)
    return path
