"""Options of `export` that are refused before the detector is loaded."""

from pathlib import Path
from typing import Any

import pytest

from centernet2.export import exporting
from centernet2.jobs.export import FormOptions, PrecisionOptions, export
from tests.helpers.jobs import save_untrained
from tests.helpers.training import write_blocks


@pytest.mark.parametrize(("options", "message"), [
    ({"output": "model.pth"}, "end it in .onnx"),
    ({"format": "openvino"}, "--format openvino ends in .xml"),
    ({"output": "model.xml", "format": "model-api"}, "one image of a fixed size at a time"),
    (
        {"output": "model.xml", "format": "model-api",
         "form": FormOptions(batch=4, size="96x128")},
        "give --batch 1",
    ),
    (
        {"output": "model.xml", "format": "model-api", "form": FormOptions(record=True)},
        "outputs of its own; leave out --record",
    ),
    ({"output": "model.pt2", "format": "aotinductor"}, "compiles for one size of images"),
    (
        {"format": "tensorrt", "form": FormOptions(size="96x128")},
        "is for one shape of input and output",
    ),
    ({"form": FormOptions(batch=0)}, "batch is 0"),
    (
        {"form": FormOptions(size="480")},
        "--size is '480'; write HEIGHTxWIDTH in pixels, such as 800x1216$",
    ),
    ({"form": FormOptions(size="0x0")}, "height and width are at least 32"),
    ({"precision": PrecisionOptions(required_share=1.5)}, "required_share is 1.5"),
    ({"images": "nowhere"}, "nowhere: no image found"),
    ({"precision": PrecisionOptions("fp8")}, "--precision is 'fp8'; choose one of fp32"),
    ({"precision": PrecisionOptions("int8")}, "ranges of activations .* give --calibration"),
    (
        {"precision": PrecisionOptions("fp16", calibration="photos")},
        "--calibration has no effect with --precision fp16",
    ),
    ({"precision": PrecisionOptions("int8", calibration="nowhere")}, "nowhere"),
    ({"precision": PrecisionOptions(accepted_loss=-1)}, "accepted_loss is -1"),
    ({"precision": PrecisionOptions(accepted_loss=0.5)}, "give them by --data"),
    ({"precision": PrecisionOptions(data_path="/data")}, "none is named; give one"),
    (
        {"output": "model.pt2", "precision": PrecisionOptions("int8")},
        "--precision int8 is for ONNX and OpenVINO, not for --format torch",
    ),
])  # fmt: skip
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    if "output" in options:
        options = {**options, "output": tmp_path / options["output"]}
    with pytest.raises((ValueError, OSError), match=message):
        export(weights=tmp_path / "none.pth", **{"output": tmp_path / "model.onnx", **options})


@pytest.mark.parametrize(("size", "name", "message"), [
    (None, "block", r"blocks_val has 1 class .*no name is in both.* DATASETS\.CLASS_MAP .*OLD=NEW"),
    ("32x48", "cat", r"--size is 32x48, but --data has images of other sizes, .*1.png \(64x64"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused_before_tracing(
    size: str | None, name: str, message: str, tmp_path: Path
) -> None:
    weights, data = save_untrained(tmp_path / "w.pth"), write_blocks(tmp_path / "blocks", name)
    output, form = tmp_path / "out" / "model.onnx", FormOptions(size=size)
    with pytest.raises(ValueError, match=message):
        export(weights=weights, output=output, form=form, precision=PrecisionOptions(data=data))
    assert not output.parent.exists()


def test_classes_of_the_data_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Any] = []
    monkeypatch.setattr(exporting, "export_detector", lambda *_, check, **__: checks.append(check))
    weights, data = save_untrained(tmp_path / "w.pth"), write_blocks(tmp_path / "blocks")
    export(
        "DATASETS.CLASS_MAP", "('block=dog',)", weights=weights, output=tmp_path / "model.onnx",
        precision=PrecisionOptions(data=data),
    )  # fmt: skip
    assert checks[0].matched.dataset.class_names == ("dog",)


def test_files_of_other_origin_stay(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.onnx.certificate.json", "model.onnx.reference.npz"):
        (tmp_path / name).write_text("of another program")
        with pytest.raises(ValueError, match="--output cannot be used"):
            export(weights=tmp_path / "none.pth", output=tmp_path / "model.onnx")
        assert (tmp_path / name).read_text() == "of another program"
        (tmp_path / name).unlink()
