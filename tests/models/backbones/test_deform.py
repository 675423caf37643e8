"""Deformable stages sit where they were asked for, and frozen ones stay frozen."""

import pytest
import torch
from torch import nn

from centernet2.layers import DeformConv2d
from centernet2.models.backbones.deform import DeformOptions, deform_stages
from centernet2.models.backbones.networks import create_network


def body(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_network(name)


def deformable(module: nn.Module) -> set[str]:
    return {name for name, child in module.named_modules() if isinstance(child, DeformConv2d)}


@pytest.mark.parametrize(
    ("name", "layers", "offset_bias"),
    [("resnet50", ["conv2"], True), ("res2net50d", ["convs.0", "convs.1", "convs.2"], False)],
)
def test_chosen_stages_are_deformable(name: str, layers: list[str], offset_bias: bool) -> None:
    network = body(name)
    deform_stages(network, DeformOptions((False, False, True, True), modulated=True, num_groups=2))
    blocks = [f"layer3.{i}" for i in range(6)] + [f"layer4.{i}" for i in range(3)]
    assert deformable(network) == {f"{block}.{layer}" for block in blocks for layer in layers}
    offset = network.get_submodule(f"layer4.0.{layers[0]}").offset
    assert offset.weight.shape[0] == 2 * 27
    assert (offset.bias is not None) == offset_bias


def test_frozen_stages_stay_frozen() -> None:
    network = body("resnet50")
    network.layer1.requires_grad_(False)
    deform_stages(network, DeformOptions((True, True, False, False)))
    assert not any(parameter.requires_grad for parameter in network.layer1.parameters())
    assert network.layer2[0].conv2.offset.weight.requires_grad


def test_basic_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="a depth of 50 or more"):
        deform_stages(body("resnet18"), DeformOptions((False, False, False, True)))
