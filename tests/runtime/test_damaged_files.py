"""Damaged and foreign files, which `verify` and `predict` name in a sentence."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.jobs.verify import verify
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.runtime.agreement import ROUNDING
from centernet2.runtime.exported_model import NEEDED_KEYS, ExportedModel
from centernet2.runtime.session import METADATA_KEY
from centernet2.runtime.verification import (
    Call,
    certificate_path,
    hash_of,
    pack_calls,
    read_calls,
    reference_path,
    require_detections,
)
from centernet2.structures import ScoreCalibration

onnx = pytest.importorskip("onnx", reason="the extra [export] is not installed")
pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")


CALIBRATION = {"temperatures": [1], "offsets": [0]}
METADATA = {**{key: kind() for key, kind in NEEDED_KEYS.items()}, "input_shape": [1, 3, 4, 6]}


def write(path: Path, metadata: str | None) -> Path:
    """Write a file whose only output is its input, with a certificate."""
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [1, 3, 4, 6])
    boxes = onnx.helper.make_tensor_value_info("boxes", onnx.TensorProto.UINT8, [1, 3, 4, 6])
    node = onnx.helper.make_node("Identity", ["images"], ["boxes"])
    graph = onnx.helper.make_graph([node], "graph", [images], [boxes])
    opsets = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    if metadata is not None:
        onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.save(model, path)
    certificate = {
        "sha256": hash_of(path), "required_share": 0.9, "tolerance": ROUNDING._asdict()
    }  # fmt: skip
    certificate_path(path).write_text(json.dumps(certificate))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx", json.dumps(METADATA))


OTHER_TYPES = [json.dumps(METADATA | {key: value}) for key, value in [
    ("num_classes", "2"), ("class_names", None), ("class_names", "cat"), ("test_size", [800]),
    ("score_thresholds", 0.5), ("input_shape", 3), ("config", 5),
]]  # fmt: skip


@pytest.mark.parametrize(
    "metadata", [None, '{"class_names": [', "{}", "[]", "null", "3", *OTHER_TYPES]
)
def test_files_of_other_programs_are_refused(metadata: str | None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.onnx was not written by .* export it again"):
        ExportedModel(write(tmp_path / "model.onnx", metadata))


@pytest.mark.parametrize(
    "calibration",
    [[1], {"offsets": [0]}, {"temperatures": 1, "offsets": 0}, {**CALIBRATION, "other": 1}],
)
def test_changed_calibration_is_named(calibration: object, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", json.dumps(METADATA | {"calibration": CALIBRATION}))
    assert ExportedDetector(path).info.calibration == ScoreCalibration((1,), (0,))
    path = write(tmp_path / "model.onnx", json.dumps(METADATA | {"calibration": calibration}))
    with pytest.raises(ValueError, match=r"the calibration in .*model\.onnx was changed"):
        ExportedDetector(path)


def test_images_of_another_shape_are_refused_without_the_folder(file: Path) -> None:
    """The message is for clients of the service, too."""
    with pytest.raises(
        ValueError,
        match=r"^model\.onnx takes uint8 images \[1, 3, 4, 6\], not .*export without --size",
    ):
        ExportedModel(file).run(np.zeros((1, 3, 9, 9), np.uint8))


def test_views_of_arrays_are_images(file: Path) -> None:
    frame = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    view = frame[:, ::-1, ::-1].transpose(2, 0, 1)[None]
    assert np.array_equal(ExportedModel(file).run(view)["boxes"], view)


def test_weights_in_a_file_beside_it_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs move large weights there."""
    path = write(tmp_path / "model.onnx", json.dumps(METADATA))
    model = onnx.load(path)
    weights = onnx.numpy_helper.from_array(np.ones((1, 3, 4, 6), np.uint8), "weights")
    model.graph.initializer.append(weights)
    node = onnx.helper.make_node("BitwiseOr", ["images", "weights"], ["boxes"])
    model.graph.node[0].CopyFrom(node)
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    monkeypatch.chdir("/")
    assert (ExportedModel(path).run(np.zeros((1, 3, 4, 6), np.uint8))["boxes"] == 1).all()


def test_output_that_was_taken_out_is_named(file: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.onnx has no output 'labels', so it was changed"):
        ExportedModel(file).detect(np.zeros((1, 3, 4, 6), np.uint8))
    with pytest.raises(ValueError, match=r"model\.onnx has no output 'labels', so it was changed"):
        ExportedDetector(file).detect([np.zeros((4, 6, 3), np.uint8)])


def test_missing_file_is_named_before_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "weights.pth").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"no such file.*none\.onnx"):
        verify(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"folder\.onnx is a folder"):
        verify(tmp_path / "folder.onnx")
    with pytest.raises(ValueError, match=r"weights\.pth is no exported file"):
        verify(tmp_path / "weights.pth")


def test_missing_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(ValueError, match=r"model\.bin, the other part of model\.xml, is missing"):
        verify(tmp_path / "model.xml")


def test_missing_files_beside_it_are_named(file: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.onnx\.reference\.npz, which .* is missing"):
        verify(file)
    certificate_path(file).unlink()
    with pytest.raises(ValueError, match=r"model\.onnx\.certificate\.json, which .* is missing"):
        verify(file)


TOLERANCE = ROUNDING._asdict()


@pytest.mark.parametrize("change", [
    {"required_share": "much"},
    {"required_share": "0.9"},
    {"required_share": math.nan},
    {"required_share": None},
    {"tolerance": {"depth": 1}},
    {"tolerance": {**TOLERANCE, "offset": "0.1"}},
    {"tolerance": {**TOLERANCE, "score": math.inf}},
    None,
])  # fmt: skip
def test_damaged_certificate_is_named(change: dict[str, Any] | None, file: Path) -> None:
    certificate = json.loads(certificate_path(file).read_text())
    content = [certificate] if change is None else certificate | change
    certificate_path(file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"certificate\.json is damaged; export the model again"):
        verify(file)


IMAGE = np.zeros((1, 3, 4, 6), np.uint8)
ONE = {"boxes": np.ones((1, 4)), "scores": np.ones(1), "labels": np.zeros(1)}
NONE = {name: column[:0] for name, column in ONE.items()}


def test_reference_of_another_file_is_named(file: Path) -> None:
    reference_path(file).write_bytes(pack_calls([Call(IMAGE, [ONE])]))
    certificate = json.loads(certificate_path(file).read_text())
    certificate["reference_sha256"] = hash_of(reference_path(file))
    certificate_path(file).write_text(json.dumps(certificate))
    reference_path(file).write_bytes(pack_calls([Call(IMAGE + 1, [ONE])]))
    with pytest.raises(ValueError, match=r"reference\.npz is not the file that .*certificate"):
        verify(file)


def test_nothing_to_compare_is_no_agreement(file: Path) -> None:
    reference_path(file).write_bytes(pack_calls([Call(IMAGE, [NONE]), Call(IMAGE, [NONE])]))
    with pytest.raises(ValueError, match=r"cannot be verified: the detector finds nothing"):
        verify(file)
    require_detections([Call(IMAGE, [NONE])], 0.0, "a file of which no agreement is required", "")


def save(path: Path, **arrays: Any) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def save_one(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


IMAGES = {"0/images": IMAGE}


@pytest.mark.parametrize("spoil", [
    lambda path: save(path, a=np.zeros(3)), lambda path: save(path, **IMAGES),
    lambda path: save(path, **IMAGES, **{"0/0/boxes": np.zeros((0, 4))}),
    lambda path: save(path, **{"0/images": np.array([{}], dtype=object)}),
    lambda path: path.write_text("text"), lambda path: path.write_bytes(b""), save_one,
])  # fmt: skip
def test_damaged_reference_is_named(spoil: Callable[[Path], None], file: Path) -> None:
    spoil(reference_path(file))
    with pytest.raises(ValueError, match=r"reference\.npz is damaged; export the model again"):
        read_calls(reference_path(file))


def test_changed_bytes_of_a_reference_are_named(file: Path) -> None:
    images = np.arange(72, dtype=np.uint8).reshape(1, 3, 4, 6)
    detections = {"boxes": np.ones((2, 4)), "scores": np.ones(2), "labels": np.zeros(2)}
    content, refused = pack_calls([Call(images, [detections])]), 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        reference_path(file).write_bytes(changed)
        try:
            read_calls(reference_path(file))
        except ValueError as error:  # and no other one
            assert "is damaged" in str(error)
            refused += 1
    assert refused > len(content) / 2
