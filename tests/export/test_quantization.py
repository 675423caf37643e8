"""int8 models: which operators run in it, and their detections."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from centernet2.export.certificate import drawn_images
from centernet2.export.onnx_file import content_of
from centernet2.export.openvino_file import save_openvino
from centernet2.export.precision import PRECISIONS
from centernet2.export.quantization import quantize
from centernet2.models.detector import Detector
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import ExportedModel

pytestmark = pytest.mark.slow  # the fixture traces a detector
LAST = ("roi_heads.stages.{}.cls_score", "roi_heads.stages.{}.bbox_pred")


def batches() -> Iterator[NDArray[np.uint8]]:
    return (image[None, :, :120, :160].numpy() for image in drawn_images())


@pytest.fixture(scope="module")
def quantized(
    exported: Path, detector: Detector, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The detector in int8, and what the certificate says about it."""
    import onnx
    import onnxscript.ir as ir

    model, facts = quantize(ir.from_proto(onnx.load(exported)), detector, batches())
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    path.write_bytes(content_of(model))
    return path, facts


def test_weights_before_the_last_layers_are_int8(quantized: tuple[Path, dict[str, Any]]) -> None:
    import onnx

    path, facts = quantized
    last = {f"detector.{name.format(k)}" for name in LAST for k in range(2)}
    assert set(facts["float_layers"]) == last | {
        "detector.proposal_generator.head",
        "detector.roi_heads.mask_branch.head.deconv",
        "detector.roi_heads.mask_branch.head.predictor",
    }
    assert facts["calibration_images"] == 3 and facts["quantized"]["Gemm"] == 4
    large = [each for each in onnx.load(path).graph.initializer if np.prod(each.dims) > 10_000]
    kinds = [each.data_type == onnx.TensorProto.INT8 for each in large]
    assert sum(kinds) > 20 and len(kinds) - sum(kinds) <= 4


def test_detections_are_near(quantized: tuple[Path, dict[str, Any]], exported: Path) -> None:
    tolerance, share = PRECISIONS["int8"]
    for images in batches():
        (found,), (wanted,) = (ExportedModel(p).detect(images) for p in (quantized[0], exported))
        assert len(wanted["boxes"]) and compare_detections(found, wanted, tolerance).share >= share


def test_file_is_of_this_package(quantized: tuple[Path, dict[str, Any]], exported: Path) -> None:
    import onnx

    model, source = onnx.load(quantized[0]), onnx.load(exported)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert model.doc_string == source.doc_string and model.producer_name == source.producer_name
    assert {each.key for each in model.metadata_props} == {"centernet2"}


def test_openvino_convolves_in_int8(quantized: tuple[Path, dict[str, Any]], exported: Path) -> None:
    pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    path = quantized[0].with_suffix(".xml")
    save_openvino(quantized[0], path, json.dumps(ExportedModel(exported).metadata))
    model = ExportedModel(path)
    tolerance, share = PRECISIONS["int8"]
    images = next(batches())
    (found,), (wanted,) = model.detect(images), ExportedModel(exported).detect(images)
    assert compare_detections(found, wanted, tolerance).share >= share
    operators = [each.get_rt_info() for each in model.session.model.get_runtime_model().get_ops()]
    kinds = [each["runtimePrecision"].astype(str) for each in operators
             if each["layerType"].astype(str) == "Convolution"]  # fmt: skip
    assert kinds.count("u8") + kinds.count("i8") > 20
