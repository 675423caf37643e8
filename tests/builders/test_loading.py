"""Loading models: the device, options that belong to weights, whole weights."""

from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders import loading, network
from centernet2.builders.initial_weights import fit_to_weights
from centernet2.builders.loading import device_for, load_for_inference
from centernet2.checkpoint import WeightsError, WeightsFile, export_reference_checkpoint
from centernet2.config import load_config
from tests.helpers.jobs import QUICK, SMALL, build_untrained


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
    with pytest.raises(WeightsError, match=r"reference.pth does not hold all weights of the model"):
        load_for_inference(path, config=other, device="cpu")


def test_inference_needs_more_than_a_backbone(tmp_path: Path) -> None:
    path = tmp_path / "R-18.pth"
    torch.save(build_untrained().backbone.body.state_dict(), path)
    with pytest.raises(WeightsError, match=r"R-18.pth does not hold all weights of the model"):
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
