"""What is computed again in the backward pass gives what was computed before."""

from collections import Counter
from copy import deepcopy

import pytest
import torch
from torch import nn

from centernet2.models.centernet.head import CenterNetHead
from centernet2.training.stages import recompute_norms


@pytest.mark.parametrize("deformable", [False, True])
@pytest.mark.parametrize("norm", ["GN", "BN", ""])
def test_a_head_with_recomputed_towers_is_the_same(norm: str, deformable: bool) -> None:
    torch.manual_seed(0)
    plain = CenterNetHead(
        in_channels=32, num_levels=2, num_classes=2, with_agn_hm=True, only_proposal=False, norm=norm,
        num_cls_convs=2, num_box_convs=3, num_share_convs=1, use_deformable=deformable, prior_prob=0.1,
    )  # fmt: skip
    again = deepcopy(plain)
    recompute_norms(again.towers)
    features = [torch.rand(2, 32, 16, 16), torch.rand(2, 32, 8, 8)]
    calls = [calls_of(head, features) for head in (plain, again)]
    if norm:
        assert calls[1]["norm"] > calls[0]["norm"]
    if not deformable:
        assert calls[1]["convolution"] == calls[0]["convolution"]  # what they put out is kept
    for ours, wanted in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, wanted.grad)
    for ours, wanted in zip(again.buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, wanted)


def calls_of(head: CenterNetHead, features: list[torch.Tensor]) -> Counter[str]:
    """How often layers of the towers compute in both passes, after which the gradients are there."""
    calls: Counter[str] = Counter()
    for layer in (layer for tower in head.towers for layer in tower):
        kind = "convolution" if isinstance(layer, nn.Conv2d) else "norm" if list(layer.parameters()) else "other"
        layer.register_forward_hook(lambda *_, kind=kind: calls.update([kind]))
    output = head(features)
    levels = [*output.ltrb, *(output.object_logits or []), *(output.class_logits or [])]
    torch.stack([level.square().sum() for level in levels]).sum().backward()
    return calls
