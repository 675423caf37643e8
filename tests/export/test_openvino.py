"""OpenVINO files: their detections and their errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from centernet2.export.certificate import call_detector, drawn_images
from centernet2.export.onnx_file import OPSET
from centernet2.export.openvino_file import save_openvino
from centernet2.models.detector import Detector
from centernet2.outputs import is_made_by
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import ExportedModel

openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
pytestmark = pytest.mark.slow


def test_detections_are_those_of_the_detector(converted: Path, detector: Detector) -> None:
    model = ExportedModel(converted)
    image = drawn_images()[0]  # larger than the test size: resizing has to smooth
    for images in (image[None], image[None, :, :40, :50].repeat(2, 1, 1, 1)):
        call = call_detector(detector, images.contiguous())
        for own, wanted in zip(model.detect(call.images), call.detections, strict=True):
            assert len(wanted["boxes"]) and compare_detections(own, wanted).share == 1


class Deformable(nn.Module):
    """A deformable convolution with everything that DeformConv has."""

    def forward(self, x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Any:
        return deform_conv2d(x, offset, weight, bias, stride=2, padding=1, dilation=1, mask=mask)


def test_deformable_convolution(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 10, 8), (2, 36, 5, 4), (6, 2, 3, 3), (6,), (2, 18, 5, 4))
    inputs = tuple(3 * torch.randn(shape, generator=random) for shape in shapes)
    program: Any = torch.onnx.export(
        Deformable().eval(), inputs, dynamo=True, opset_version=OPSET, verbose=False
    )
    program.save(tmp_path / "layer.onnx")
    save_openvino(tmp_path / "layer.onnx", tmp_path / "layer.xml", "{}")
    layer = openvino.compile_model(
        tmp_path / "layer.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = layer([x.numpy() for x in inputs])[0]
    np.testing.assert_allclose(found, Deformable()(*inputs).numpy(), rtol=1e-4, atol=1e-4)


def test_metadata_and_mark(converted: Path, exported: Path) -> None:
    assert ExportedModel(converted).metadata == ExportedModel(exported).metadata
    assert is_made_by(converted, "export")


def test_damage_is_named(converted: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(converted.read_bytes())
    with pytest.raises(ValueError, match=r"model\.bin, the other part of model\.xml, is missing"):
        ExportedModel(path)
    path.with_suffix(".bin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.xml cannot be opened by openvino"):
        ExportedModel(path)
    with pytest.raises(ValueError, match="has no device NONE; it has"):
        ExportedModel(converted, providers=["NONE"])
    with pytest.raises(ValueError, match="runs a file on one device; choose one of CPU, GPU"):
        ExportedModel(converted, providers=["CPU", "GPU"])
