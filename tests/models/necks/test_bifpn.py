"""BiFPN: its graph, its shapes and its fusion."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from centernet2.models.necks import BiFPN, BiFPNOptions
from centernet2.models.necks.bifpn import FusionNode, fusion_graph

CHANNELS = {"res3": 8, "res4": 16, "res5": 24}
OPTIONS = BiFPNOptions(out_channels=32, num_bifpn=2)


def make_neck(**changes: Any) -> BiFPN:
    options = {field: changes.pop(field) for field in vars(OPTIONS).keys() & changes}
    return BiFPN(CHANNELS, tuple(CHANNELS), replace(OPTIONS, **options), **changes)


def features() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "res3": torch.randn(1, 8, 16, 32),
        "res4": torch.randn(1, 16, 8, 16),
        "res5": torch.randn(1, 24, 4, 8),
    }


def test_graph_of_five_levels() -> None:
    top_down = [(3, (3, 4)), (2, (2, 5)), (1, (1, 6)), (0, (0, 7))]
    bottom_up = [(1, (1, 7, 8)), (2, (2, 6, 9)), (3, (3, 5, 10)), (4, (4, 11))]
    assert fusion_graph(5) == top_down + bottom_up


def test_graph_of_three_levels() -> None:
    assert fusion_graph(3) == [(1, (1, 2)), (0, (0, 3)), (1, (1, 3, 4)), (2, (2, 5))]


@pytest.mark.parametrize("pool_kernel", [2, 3])
@pytest.mark.parametrize("separable_conv", [False, True])
def test_shape_of_each_level(pool_kernel: int, separable_conv: bool) -> None:
    neck = make_neck(pool_kernel=pool_kernel, separable_conv=separable_conv)
    pyramid = neck(features())
    sizes = {"p3": (16, 32), "p4": (8, 16), "p5": (4, 8), "p6": (2, 4), "p7": (1, 2)}
    assert {name: tuple(x.shape) for name, x in pyramid.items()} == {
        p: (1, 32, *size) for p, size in sizes.items()
    }
    assert neck.strides == {"p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}
    assert neck.channels == dict.fromkeys(sizes, 32)


def test_three_levels_have_no_extra_level() -> None:
    neck = make_neck(num_levels=3)
    assert list(neck(features())) == ["p3", "p4", "p5"]
    assert not hasattr(neck, "reduce")


@pytest.mark.parametrize(("levels", "multiple"), [(3, 128), (5, 128), (6, 256)])
def test_padding_suits_the_coarsest_level(levels: int, multiple: int) -> None:
    neck = make_neck(num_levels=levels)
    assert neck.size_divisibility == multiple
    strides = {"res3": 8, "res4": 16, "res5": 32}
    maps = {
        name: torch.zeros(1, CHANNELS[name], multiple // stride, 2 * multiple // stride)
        for name, stride in strides.items()
    }
    assert len(neck(maps)) == levels


def test_shared_and_separate_laterals() -> None:
    def laterals(shared: bool) -> list[str]:
        neck = make_neck(shared_laterals=shared)
        assert not neck.cells[1].laterals
        assert (
            neck.cells[0].laterals[next(iter(neck.cells[0].laterals))].conv.bias is not None
        ) == shared
        return sorted(neck.cells[0].laterals)

    assert laterals(True) == ["0_to_0", "1_to_1", "2_to_2"]
    assert laterals(False) == [
        "0_to_0_0_7", "1_to_1_1_6", "1_to_1_1_7_8", "2_to_2_2_5", "2_to_2_2_6_9",
    ]  # fmt: skip


def test_fusion_weights_are_normalized() -> None:
    node = FusionNode(3, 4, norm="", separable_conv=False)
    with torch.no_grad():
        node.weights.copy_(torch.tensor([3.0, -5.0, 1.0]))
        node.conv.conv.weight.zero_()
        node.conv.conv.weight[range(4), range(4), 1, 1] = 1.0
        node.conv.conv.bias.zero_()
    a, b, c = torch.randn(3, 1, 4, 5, 5)
    expected = torch.nn.functional.silu((3 * a + c) / 4.0001)
    torch.testing.assert_close(node([a, b, c]), expected)


def test_fewer_levels_than_feature_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="num_levels is 2, but there are 3 feature maps"):
        make_neck(num_levels=2)


def test_images_are_padded_as_the_options_say() -> None:
    assert make_neck(num_levels=4).size_divisibility == 128
    assert make_neck(num_levels=4, size_divisibility=1).size_divisibility == 64
