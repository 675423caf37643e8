"""Res2Net's shapes and the place of its strides."""

from dataclasses import replace

import pytest
import torch

from centernet2.models.backbones import Res2Net, ResNetOptions

OPTIONS = ResNetOptions(out_features=("res3", "res5"), width_per_group=26)


def test_feature_maps_and_frozen_stages() -> None:
    backbone = Res2Net(OPTIONS)
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        "res3": (1, 512, 8, 12),
        "res5": (1, 2048, 2, 3),
    }
    assert backbone.channels == {"res3": 512, "res5": 2048}
    assert backbone.strides == {"res3": 8, "res5": 32}
    trained = {
        name.split(".")[1]
        for name, parameter in backbone.named_parameters()
        if parameter.requires_grad
    }
    assert trained == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize(("stride_in_1x1", "strides"), [(True, (2, 1)), (False, (1, 2))])
def test_stride_moves_into_1x1_convolution(stride_in_1x1: bool, strides: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = Res2Net(replace(OPTIONS, stride_in_1x1=stride_in_1x1))
    block = backbone.body.layer3[0]
    assert (block.conv1.stride[0], block.convs[1].stride[0]) == strides
    assert backbone(torch.empty(1, 3, 64, 64, device="meta"))["res5"].shape == (1, 2048, 2, 2)


@pytest.mark.parametrize(
    ("option", "value"), [("depth", 34), ("stem_out_channels", 32), ("res5_dilation", 2)]
)
def test_option_that_timm_lacks_is_refused(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{option} is {value}; "):
        Res2Net(replace(OPTIONS, **{option: value}))
