"""Loading models: the device, options that belong to weights, whole weights."""

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders.detector import loading, network
from centernet2.builders.detector.initial_weights import fit_to_weights
from centernet2.builders.detector.loading import device_for, load_for_inference
from centernet2.checkpoint import WeightsError, WeightsFile, export_reference_checkpoint
from centernet2.checkpoint.checkpoint import find_in_run
from centernet2.config import load_config
from tests.helpers.jobs import QUICK, SMALL, build_untrained, save_untrained


@pytest.fixture
def machine_with_xpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch report an xpu besides the CPU."""

    def choose(name: str | None) -> torch.device:
        if name not in (None, "xpu", "cpu"):
            raise ValueError(f"device '{name}' is not there")
        return torch.device(name or "xpu")

    monkeypatch.setattr(loading, "choose_device", choose)


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [(None, "cpu", "cpu"), ("xpu", "cpu", "xpu"), (None, "cuda", "xpu"), (None, "mps", "xpu")],
)
@pytest.mark.usefixtures("machine_with_xpu")
def test_model_device_is_obeyed_where_present(
    name: str | None, option: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config("CenterNet2_R50_1x", ["MODEL.DEVICE", option])
    assert device_for(config, name) == torch.device(expected)
    assert ("device 'mps' is not there; using xpu" in caplog.text) is (option == "mps")


def test_only_residual_backbones_change_their_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options depend on the kind of a backbone, not on the letters of its name."""
    networks = network.NETWORKS
    names = {
        "build_strides": networks["build_p67_resnet_fpn_backbone"],
        "build_highres_dla": networks["build_dla_backbone"],
    }
    monkeypatch.setattr(network, "NETWORKS", names)
    strides = {}
    for name in names:
        config = load_config("CenterNet2_R50_1x", ["MODEL.BACKBONE.NAME", name])
        fitted = fit_to_weights(config, WeightsFile("w.pth", "network", {}))
        strides[name] = fitted["MODEL.RESNETS.STRIDE_IN_1X1"]
    assert strides == {"build_strides": False, "build_highres_dla": True}


def test_inference_needs_all_weights(tmp_path: Path) -> None:
    """A training run may start from part of the weights, inference may not."""
    path = tmp_path / "reference.pth"
    export_reference_checkpoint(build_untrained(classes=80), path)
    assert not load_for_inference(path, config=SMALL, device="cpu").training
    other = load_config(SMALL, [*QUICK, "MODEL.ROI_BOX_HEAD.FC_DIM", "64"])
    assert centernet2.build_model(other, weights=path).training
    with pytest.raises(WeightsError, match=r"reference.pth .*does not hold all weights"):
        load_for_inference(path, config=other, device="cpu")


def test_inference_needs_more_than_a_backbone(tmp_path: Path) -> None:
    path = tmp_path / "R-18.pth"
    torch.save(build_untrained().backbone.body.state_dict(), path)
    with pytest.raises(WeightsError, match=r"R-18.pth .*does not hold all weights of the model"):
        load_for_inference(path, config=SMALL, device="cpu")


def test_inference_does_without_class_weights_of_training(tmp_path: Path) -> None:
    """The federated loss computes them from the data; old checkpoints lack them."""
    path, options = tmp_path / "reference.pth", ["MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True"]
    export_reference_checkpoint(build_untrained(*options, classes=80), path)
    content = torch.load(path)
    names = [name for name in content["model"] if "freq_weight" in name]
    for name in names:
        del content["model"][name]
    torch.save(content, path)
    assert names
    load_for_inference(path, options, config=SMALL, device="cpu")


def test_weights_of_another_model_are_refused_with_both_names(tmp_path: Path) -> None:
    path = save_untrained(tmp_path / "small.pth")
    wider = load_config(SMALL, [*QUICK, "MODEL.FPN.OUT_CHANNELS", 32, "MODEL.RESNETS.DEPTH", 50])
    wider = replace(wider, name="wider")
    for build in (partial(load_for_inference, config=wider), partial(build_from, wider)):
        with pytest.raises(WeightsError) as error:
            build(path)
        message = str(error.value)
        assert "\n" not in message
        for part in (
            "small.pth (trained with CenterNet2_R18_small)",
            "wider",
            "have another shape",
        ):
            assert part in message
    with pytest.raises(WeightsError, match=r"small.pth \(trained with .*tensors are loaded, "):
        load_for_inference(path, ["MODEL.FPN.OUT_CHANNELS", 32])


def build_from(config: centernet2.Config, weights: Path) -> centernet2.Detector:
    return centernet2.build_model(config, weights=weights)


def test_weights_of_a_runs_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(WeightsError, match="is a folder without a checkpoint"):
        load_for_inference(tmp_path)
    for name in ("model_0000001.pth", "model_0000020.pth", "model_best.pth", "model_final.pth"):
        (tmp_path / name).touch()
    for name in ("model_final.pth", "model_best.pth", "model_0000020.pth", "model_0000001.pth"):
        assert find_in_run(tmp_path) == tmp_path / name
        assert f"weights: {tmp_path / name}" in caplog.text
        (tmp_path / name).unlink()
    save_untrained(tmp_path / "model_final.pth", ("block",))
    for model in (centernet2.load_model(tmp_path), build_from(load_config(SMALL), tmp_path)):
        assert model.info.class_names == ("block",)


@pytest.mark.parametrize(("name", "content", "kind"), [
    ("a.jpg", b"\xff\xd8\xff\xe0 JFIF", "a picture"),
    ("a.png", b"\x89PNG\r\n", "a picture"),
    ("a.pth", b"\x89PNG\r\n", "a picture"),
    ("predictions.json", b'[{"image_id": 1}]', "a JSON file"),
    ("truth.json", b'\xef\xbb\xbf {"images": []}', "a JSON file"),
    ("config.yaml", b"MODEL:\n", "a YAML file"),
    ("a.pth", b"\n<!DOCTYPE html>", "a web page"),
    ("a.pth", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ("classes.txt", b"cat\n", "a text file"),
    ("model.onnx", b"\x08\x0a\x12", "an exported file"),
    ("model.pt2", b"PK\x03\x04", "an exported file"),
    ("model.xml", b'<?xml version="1.0"?>\n<net name="a">', "an exported file"),
])  # fmt: skip
def test_other_files_are_told_by_kind(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for load in (load_for_inference, partial(build_from, load_config(SMALL))):
        with pytest.raises(WeightsError, match=f"{name} is {kind}.* not a weights file"):
            load(path)


def test_classes_of_other_programs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "yolo.pt"
    torch.save({"model": Fraction(1, 2)}, path)
    with pytest.raises(WeightsError, match=r"whole model, 'fractions.Fraction', and only tensors"):
        load_for_inference(path)
