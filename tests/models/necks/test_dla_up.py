"""DLA-up: the feature maps that it returns, and bilinear initial upsampling."""

from typing import Any

import pytest
import torch

from centernet2.layers import DeformConv2d
from centernet2.models.necks import DLAUp
from centernet2.models.necks.dla_up import _bilinear_upsampling

OPTIONS: dict[str, Any] = {
    "in_channels": {"dla2": 4, "dla3": 8, "dla4": 16, "dla5": 32},
    "in_features": ("dla2", "dla3", "dla4", "dla5"), "norm": "BN", "node": "conv",
    "single_level": False, "prefix": "dla",
}  # fmt: skip
FEATURES = {f"dla{k}": torch.randn(2, 2**k, 128 // 2**k, 64 // 2**k) for k in range(2, 6)}


@pytest.mark.parametrize("node", ["conv", "dcn"])
def test_all_levels_are_returned(node: str) -> None:
    neck = DLAUp(**OPTIONS | {"node": node, "prefix": "dlaup"})
    maps = neck(FEATURES)
    assert {name: x.shape for name, x in maps.items()} == {
        f"dlaup{k}": FEATURES[f"dla{k}"].shape for k in range(2, 6)
    }
    assert neck.channels == {"dlaup2": 4, "dlaup3": 8, "dlaup4": 16, "dlaup5": 32}
    assert neck.strides == {"dlaup2": 4, "dlaup3": 8, "dlaup4": 16, "dlaup5": 32}
    assert torch.equal(maps["dlaup5"], FEATURES["dla5"])
    assert any(isinstance(module, DeformConv2d) for module in neck.modules()) == (node == "dcn")


def test_single_level_uses_all_parameters() -> None:
    neck = DLAUp(**OPTIONS | {"single_level": True})
    inputs = {name: x.clone().requires_grad_() for name, x in FEATURES.items()}
    maps = neck(inputs)
    assert list(maps) == ["dla2"] == list(neck.channels) == list(neck.strides)
    assert maps["dla2"].shape == FEATURES["dla2"].shape
    maps["dla2"].square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in inputs.values())
    assert all(parameter.grad is not None for parameter in neck.parameters())


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_begins_bilinear(factor: int) -> None:
    x = torch.randn(1, 3, 6, 7)
    expected = torch.nn.functional.interpolate(
        x, scale_factor=float(factor), mode="bilinear", align_corners=False
    )
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # outside the image are zeros
    torch.testing.assert_close(_bilinear_upsampling(3, factor)(x)[inside], expected[inside])


def test_unknown_node_is_refused() -> None:
    with pytest.raises(ValueError, match="node is 'gcn'; choose dcn or conv"):
        DLAUp(**OPTIONS | {"node": "gcn"})
