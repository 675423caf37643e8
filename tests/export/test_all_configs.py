"""Files of all packaged configs, with the reference's weights, compared with PyTorch."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from centernet2.export.certificate import call_detector, compare_stages
from centernet2.export.exporting import ExportOptions, export_detector
from centernet2.export.graph import DetectionGraph, GraphOptions
from centernet2.export.openvino_file import save_openvino
from centernet2.export.program import TRACED_SHAPE, exportable
from centernet2.export.tensorrt_table import OPERATORS
from centernet2.models.detector import Detector
from centernet2.models.necks.bifpn import FusionNode
from centernet2.runtime.agreement import ROUNDING
from centernet2.runtime.exported_model import ExportedModel
from centernet2.runtime.verification import agreement_of
from tests.helpers.reference import NAMES, portable_scenes, reference_model

RECORD = GraphOptions(record=True)
REQUIRED_SHARE = 0.98  # weights of this kind give many nearly equal scores
TEST_SIZES = (
    "INPUT.MIN_SIZE_TEST", "192", "INPUT.MAX_SIZE_TEST", "256", "INPUT.TEST_SIZE", "256",
)  # fmt: skip


def batches() -> list[Tensor]:
    """Images of two sizes, and a batch, none of which were traced."""
    first, second = portable_scenes().images
    images = [first[None], second[None, :, :140, :200], second.repeat(3, 1, 1, 1).contiguous()]
    assert not {each.shape[0] for each in images} & {TRACED_SHAPE[0]}
    assert not {each.shape[2:] for each in images} & {TRACED_SHAPE[2:]}
    return images


def detector_of(name: str, folder: Path) -> Detector:
    """Build a detector with the reference's weights, the features of which BiFPN fuses all.

    These weights are drawn, and BiFPN drops feature maps of negative weight. In the two configs of
    Res2Net with BiFPN the image then changes no prediction: all locations away from the edges tie,
    of which PyTorch in float64 chooses others than in float32.
    """
    detector = reference_model(name, folder, TEST_SIZES).eval()
    for module in detector.modules():
        if isinstance(module, FusionNode) and "R2-101" in name:
            module.weights.data.abs_()
    return detector


def shares(path: Path, detector: Detector, images: Sequence[Tensor]) -> dict[str, float]:
    """Return the shares of a file's detections, and of the boxes of each stage, that agree."""
    model = ExportedModel(path)
    detections = agreement_of(model, [call_detector(detector, each) for each in images])
    graph = DetectionGraph(exportable(detector), RECORD).eval()
    outputs = [model.run(each.numpy()) for each in images]
    stages = compare_stages(graph, outputs, images, ROUNDING)
    return {"detections": detections.share, **{name: each.share for name, each in stages.items()}}


def operators_of(path: Path) -> set[str]:
    import onnx

    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_files_agree_with_pytorch(name: str, tmp_path: Path) -> None:
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="the extra [openvino] is not installed")
    detector = detector_of(name, tmp_path)
    onnx, openvino = tmp_path / "model.onnx", tmp_path / "model.xml"
    options = ExportOptions(RECORD, required_share=REQUIRED_SHARE)
    export_detector(detector, onnx, options, images=portable_scenes().images)
    assert operators_of(onnx) <= OPERATORS.keys(), "TensorRT's table misses some"
    save_openvino(onnx, openvino, json.dumps(dict(ExportedModel(onnx).metadata)))
    for path in (onnx, openvino):
        found = shares(path, detector, batches())
        print(name, path.suffix, {stage: round(share, 4) for stage, share in found.items()})
        # OpenVINO sums up in another order: other boxes of nearly equal scores become proposals
        compared = found if path.suffix == ".onnx" else {"detections": found["detections"]}
        assert min(compared.values()) >= REQUIRED_SHARE, (path.suffix, found)
