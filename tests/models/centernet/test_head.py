"""The head of the first stage: its towers."""

import torch

from centernet2.models.centernet import CenterNetHead, HeadOptions


def test_separable_towers_are_lighter_and_keep_their_scale() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 64, 16, 16)
    sizes, spreads = [], []
    for separable in (False, True):
        head = CenterNetHead(
            64, 1, HeadOptions(num_class_convs=0, num_box_convs=2, separable=separable)
        )
        sizes.append(sum(p.numel() for p in head.bbox_tower.parameters()))
        spreads.append(head.bbox_tower(x).std().item())
        assert head([x]).ltrb[0].shape == (1, 4, 16, 16)
    assert sizes[1] < sizes[0] / 6
    assert 0.8 < spreads[1] / spreads[0] < 1.25
