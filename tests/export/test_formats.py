"""Formats of exported files: which one is written, and what it needs."""

from importlib.metadata import version
from pathlib import Path

import pytest

from centernet2.export import formats
from centernet2.export.formats import FORMATS, Format, choose_format, require_packages


@pytest.mark.parametrize(("output", "name", "expected"), [
    (None, None, ("model.onnx", "onnx")),
    (None, "torch", ("model.pt2", "torch")),
    (None, "model-api", ("model.xml", "model-api")),
    ("a/net.xml", None, ("a/net.xml", "openvino")),
    ("net.pt2", None, ("net.pt2", "torch")),
    ("net.xml", "model-api", ("net.xml", "model-api")),
    ("net.v2.pt2", "aotinductor", ("net.v2.pt2", "aotinductor")),
])  # fmt: skip
def test_format_is_named_or_follows_from_the_suffix(
    output: str | None, name: str | None, expected: tuple[str, str]
) -> None:
    path, found = choose_format(None if output is None else Path(output), name)
    assert (str(path), found) == expected


@pytest.mark.parametrize(("output", "name", "message"), [
    ("net.onnx", "openvino", r"net\.onnx, but a file of --format openvino ends in \.xml"),
    ("net.pt2", "model-api", r"ends in \.xml"),
    ("net.pth", None, r"end it in \.onnx or \.pt2 or \.xml"),
    ("net", "torch", r"ends in \.pt2"),
    (None, "tflite", "--format is 'tflite'; choose one of onnx, openvino, torch"),
])  # fmt: skip
def test_contradictions_are_refused(output: str | None, name: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_format(None if output is None else Path(output), name)


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", ("torch", "nopackage"), "export"))
    monkeypatch.setattr(formats, "requires", lambda _: ["torch>=99; extra == 'export'"])
    with pytest.raises(ValueError) as error:
        require_packages("onnx")
    installed = f"torch {version('torch')} is installed, but >=99 is needed"
    assert installed in str(error.value) and "nopackage is not installed" in str(error.value)
    assert str(error.value).endswith('pip install "centernet2[export]"')


def test_package_that_cannot_load_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "halfpackage.py").write_text("raise OSError('libnothing.so is missing')")
    (tmp_path / "needypackage.py").write_text("import nopackage")
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = ("halfpackage", "needypackage")
    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", packages, "export"))
    with pytest.raises(ValueError) as error:
        require_packages("onnx")
    assert "halfpackage cannot be imported (libnothing.so is missing)" in str(error.value)
    assert "nopackage is not installed" in str(error.value)


def test_old_package_of_another_distribution_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "otherpackage.py").write_text("__version__ = '1.2.0-15-branch'")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(FORMATS, "onnx", Format(".onnx", ("otherpackage",), "export"))
    monkeypatch.setattr(formats, "requires", lambda _: ["otherpackage>=1.3; extra == 'export'"])
    with pytest.raises(ValueError, match=r"otherpackage 1\.2\.0 is .*, but >=1\.3 is needed"):
        require_packages("onnx")


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats.shutil, "which", lambda _: None)
    monkeypatch.setattr(formats, "requires", lambda _: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler.*use --format torch"):
        require_packages("aotinductor")
    require_packages("torch")
