"""Loading models: the device, and the options that belong to weights."""

import pytest
import torch

from centernet2.builders import loading, network
from centernet2.builders.initial_weights import fit_to_weights
from centernet2.builders.loading import device_for
from centernet2.checkpoint import WeightsFile
from centernet2.config import load_config


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
