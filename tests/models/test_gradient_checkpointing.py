"""Gradient checkpointing: recomputed activations give equal results."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from timm.models.resnet import Bottleneck
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from centernet2.layers import DeformConv2d, find_norm_pairs, fuse_frozen_norms
from centernet2.models.backbones import ResNet, ResNetOptions
from centernet2.models.centernet import CenterNetHead, HeadOptions
from centernet2.models.gradient_checkpointing import (
    recompute_expansions,
    recompute_norms,
    recompute_stages,
)


def assert_same_training(again: nn.Module, plain: nn.Module) -> None:
    for ours, wanted in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, wanted.grad)
    for ours, wanted in zip(again.buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, wanted)


@pytest.mark.parametrize("deformable", [False, True])
@pytest.mark.parametrize("norm", ["GN", "BN", ""])
def test_recomputed_towers_keep_results(norm: str, deformable: bool) -> None:
    torch.manual_seed(0)
    options = HeadOptions(
        num_classes=2, objectness=True, norm=norm, num_class_convs=2, num_box_convs=3,
        num_shared_convs=1, deformable=deformable, prior_prob=0.1,
    )  # fmt: skip
    plain = CenterNetHead(32, 2, options)
    again = deepcopy(plain)
    recompute_norms(again.towers)
    features = [torch.rand(2, 32, 16, 16), torch.rand(2, 32, 8, 8)]
    calls = [calls_of(head, features) for head in (plain, again)]
    if norm:
        assert calls[1]["norm"] > calls[0]["norm"]
    if not deformable:
        assert calls[1]["convolution"] == calls[0]["convolution"]  # what they put out is kept
    assert_same_training(again, plain)


@pytest.mark.parametrize("recompute", [recompute_expansions, recompute_stages])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("depth", "norm"), [(50, "FrozenBN"), (50, "BN"), (18, "FrozenBN"), (18, "BN")]
)
def test_recomputed_backbones_keep_results(
    depth: int, norm: str, memory_format: torch.memory_format, recompute: Callable[[Any], None]
) -> None:
    torch.manual_seed(0)
    options = ResNetOptions(
        depth=depth, out_features=("res3", "res4", "res5"), norm=norm, stride_in_1x1=False,
        res2_out_channels=256 if depth == 50 else 64,
    )  # fmt: skip
    plain = ResNet(options)
    if norm == "FrozenBN":
        fuse_frozen_norms(plain, find_norm_pairs(plain, torch.zeros(1, 3, 64, 64)))
    plain.to(memory_format=memory_format)
    again = deepcopy(plain)
    recompute(again)
    x = torch.rand(2, 3, 64, 96).contiguous(memory_format=memory_format)
    counts = [convolutions_of_the_backward_pass(backbone, x) for backbone in (plain, again)]
    assert counts[0] == 0
    # the last of each bottleneck, and those beside the first of a stage
    if recompute is recompute_expansions:
        assert counts[1] == (sum((4, 6, 3)) + 3 if depth == 50 else 0)
    assert_same_training(again, plain)


@pytest.mark.parametrize("kind", ["deformable", "attentive", "smooth"])
def test_costly_bottlenecks_keep_activations(kind: str) -> None:
    act_layer = nn.SiLU if kind == "smooth" else nn.ReLU
    attn_layer = "se" if kind == "attentive" else None
    blocks = [Bottleneck(64, 16, act_layer=act_layer, attn_layer=attn_layer) for _ in range(2)]
    body = nn.Sequential(*blocks)
    for block in blocks if kind == "deformable" else ():
        conv = DeformConv2d(block.conv2, modulated=True, offset_groups=1, offset_bias=True)
        block.conv2 = conv
    backbone = nn.Sequential(nn.Conv2d(3, 64, 1), body)
    recompute_expansions(backbone)
    assert "forward" not in vars(body)
    plain = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Sequential(Bottleneck(64, 16)))
    recompute_expansions(plain)
    assert "forward" in vars(plain[1])


def convolutions_of_the_backward_pass(backbone: nn.Module, x: torch.Tensor) -> int:
    """Count the convolutions that a training step computes again."""
    maps = backbone(x)
    with CountConvolutions() as counter:
        torch.stack([level.square().sum() for level in maps.values()]).sum().backward()
    return counter.count


class CountConvolutions(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.centernet2.conv2d.default)

    def __torch_dispatch__(self, operator: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += operator in self.CONVOLUTIONS
        return operator(*args, **(kwargs or {}))


def calls_of(head: CenterNetHead, features: list[torch.Tensor]) -> Counter[str]:
    """Count the runs of the towers' layers in both passes."""
    calls: Counter[str] = Counter()
    for layer in (layer for tower in head.towers for layer in tower):
        kind = "norm" if list(layer.parameters()) else "other"
        kind = "convolution" if isinstance(layer, nn.Conv2d) else kind
        layer.register_forward_hook(lambda *_, kind=kind: calls.update([kind]))
    output = head(features)
    levels = [*output.ltrb, *(output.object_logits or []), *(output.class_logits or [])]
    torch.stack([level.square().sum() for level in levels]).sum().backward()
    return calls
