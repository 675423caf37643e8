"""ONNX files: their detections, their certificate, and `verify` without PyTorch."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from centernet2.export import exporting
from centernet2.export.certificate import call_detector, drawn_images
from centernet2.export.exporting import ExportOptions, export_detector
from centernet2.export.graph import DetectionGraph, GraphOptions
from centernet2.export.precision import PRECISIONS
from centernet2.export.program import exportable
from centernet2.jobs import InferenceOptions
from centernet2.jobs.predict import predict
from centernet2.jobs.verify import verify
from centernet2.models.detector import Detector
from centernet2.outputs import is_made_by
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import ExportedModel, split_images
from centernet2.runtime.verification import certificate_path, reference_path
from tests.helpers.exported import build_two_levels
from tests.helpers.jobs import write_photographs

pytestmark = pytest.mark.slow  # tracing the detector takes half a minute
CPU = InferenceOptions(device="cpu")
STANDARD = {"", "ai.onnx"}


def test_detections_of_other_sizes_and_batches(exported: Path, detector: Detector) -> None:
    model = ExportedModel(exported)
    image = drawn_images()[0]
    for images in (image[None, :, :90, :77], image[None].repeat(3, 1, 1, 1), image[None].mT):
        call = call_detector(detector, images.contiguous())
        for own, wanted in zip(model.detect(call.images), call.detections, strict=True):
            assert len(wanted["boxes"]) and compare_detections(own, wanted).share == 1


def test_masks(exported: Path, detector: Detector) -> None:
    images = drawn_images()[0][None]
    with torch.no_grad():
        graph = DetectionGraph(exportable(detector))(images)
    (wanted,) = split_images({name: column.numpy() for name, column in graph.items()}, 1)
    (found,) = ExportedModel(exported).detect(images.numpy())
    assert len(found["masks"]) == len(wanted["masks"]) > 0
    assert np.abs(found["masks"] - wanted["masks"]).max() < 1e-3


def test_certificate(exported: Path) -> None:
    certificate = json.loads(certificate_path(exported).read_text())
    assert certificate["share"] >= PRECISIONS["fp32"].share and certificate["parts_at"] is None
    assert list(certificate["stages"]) == ["proposals", "stage 0", "stage 1"]
    assert all(each["share"] >= PRECISIONS["fp32"].share for each in certificate["stages"].values())
    assert certificate["drawn_images"] == 3 and sorted(
        {shape[0] for shape in certificate["images"]}
    ) == [1, 2]


def test_file_has_standard_operators_and_no_branches(exported: Path) -> None:
    import onnx

    nodes = onnx.load(exported).graph.node
    assert {node.domain for node in nodes} <= STANDARD
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in nodes}


def test_file_may_be_replaced_by_the_next_export(exported: Path) -> None:
    assert is_made_by(exported, "export") and is_made_by(certificate_path(exported), "export")


def test_metadata(exported: Path, detector: Detector) -> None:
    metadata = ExportedModel(exported).metadata
    assert metadata["num_classes"] == detector.num_classes
    assert metadata["test_size"] == {"fit": "shortest_edge", "length": 64, "max_size": 96}
    assert metadata["channel_order"] == "RGB" and "torch" in metadata["versions"]


def test_fixed_shape_and_lists(detector: Detector, tmp_path: Path) -> None:
    path, options = tmp_path / "model.onnx", GraphOptions(batch=1, size=(96, 128), lists=True)
    export_detector(detector, path, ExportOptions(options))  # it compares the detections
    model = ExportedModel(path)
    assert list(model.input_shape) == [1, 3, 96, 128] == model.session.session.get_inputs()[0].shape
    assert "image_index" in model.session.names and "count" not in model.session.names


def copy_of(exported: Path, folder: Path) -> Path:
    for path in (exported, certificate_path(exported), reference_path(exported)):
        shutil.copy(path, folder)
    return folder / exported.name


def test_file_of_another_certificate_is_named(exported: Path, tmp_path: Path) -> None:
    path = copy_of(exported, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not the file that"):
        verify(path)


def test_other_files_and_inputs_are_refused(exported: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"damaged\.onnx cannot be opened by onnxruntime"):
        ExportedModel(damaged)
    with pytest.raises(ValueError, match="is no exported file"):
        ExportedModel(tmp_path / "model.pth")
    with pytest.raises(ValueError, match="no execution provider NoneExecutionProvider"):
        ExportedModel(exported, providers=["NoneExecutionProvider"])
    model = ExportedModel(exported)
    for images in (np.zeros((1, 3, 64, 64), np.float32), np.zeros((3, 64, 64), np.uint8)):
        with pytest.raises(ValueError, match=r"takes uint8 images \[batch, 3, height, width\]"):
            model.run(images)


def test_too_little_agreement_writes_nothing(
    detector: Detector, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_two_levels("MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.1")
    monkeypatch.setattr(exporting, "call_detector", lambda _, images: call_detector(other, images))
    monkeypatch.setattr(exporting, "export_program", lambda *_, **__: None)
    monkeypatch.setattr(exporting, "translate", lambda *_: None)
    monkeypatch.setattr(exporting, "without_outputs", lambda *_: None)
    monkeypatch.setattr(exporting, "content_of", lambda _: exported.read_bytes())
    monkeypatch.setattr(exporting, "compare_stages", lambda *_: {})
    with pytest.raises(
        ValueError,
        match=r"model\.onnx is not written: .* but 99\.00% are required; compare it by --images",
    ):
        export_detector(detector, tmp_path / "model.onnx", ExportOptions())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "sizes"), [
    (GraphOptions(size=(9_999_999, 9_999_999)), "images of 9999999 x 9999999"),
    (GraphOptions(batch=10**9), "a batch of 1000000000"),
])  # fmt: skip
def test_what_does_not_fit_into_memory_is_refused(
    detector: Detector, tmp_path: Path, options: GraphOptions, sizes: str
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match=f"{sizes}.* need .* GB of memory, but .* smaller --batch"):
        export_detector(detector, path, ExportOptions(options))
    assert not list(tmp_path.iterdir())


def test_predict_takes_an_exported_file(exported: Path, tmp_path: Path) -> None:
    photos = write_photographs(tmp_path / "photos")
    found = {}
    for weights in (exported, exported.with_name("model.pth")):
        folder = tmp_path / weights.suffix
        predict(photos, weights=weights, output=folder, score_threshold=0.0, inference=CPU)
        found[weights.suffix] = json.loads((folder / "predictions.json").read_text())
    for ours, wanted in zip(found[".onnx"], found[".pth"], strict=True):
        assert len(ours["detections"]) == len(wanted["detections"]) > 0
        for own, other in zip(ours["detections"], wanted["detections"], strict=True):
            assert own["box"] == pytest.approx(other["box"], abs=0.1)
            assert own["score"] == pytest.approx(other["score"], abs=1e-3)


@pytest.mark.parametrize(("words", "options", "message"), [
    (("MODEL.DEVICE", "cpu"), {}, "config overrides cannot be applied; export the model"),
    ((), {"config": "CenterNet2_R50_1x"}, "--config-file cannot be applied"),
    ((), {"inference": InferenceOptions(dtype="bf16")}, "--dtype cannot be applied"),
    ((), {"inference": InferenceOptions(device="mps")}, "runs on cpu or cuda"),
])  # fmt: skip
def test_predict_refuses_what_the_file_has_settled(
    exported: Path, tmp_path: Path, words: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    photos = write_photographs(tmp_path / "photos", 1)
    with pytest.raises(ValueError, match=message):
        predict(photos, *words, weights=exported, output=tmp_path / "out", **options)
