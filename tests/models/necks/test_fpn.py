"""FPN: the multiple to which images are padded."""

import pytest
import torch

from centernet2.models.necks import FPN, FPNOptions


@pytest.mark.parametrize(
    ("names", "extra_levels", "multiple"),
    [(("res3", "res4", "res5"), 2, 32), (("res3", "res4"), 0, 32), (("res5", "res6"), 0, 64)],
)
def test_padding_suits_the_coarsest_fused_level(
    names: tuple[str, ...], extra_levels: int, multiple: int
) -> None:
    options = FPNOptions(in_features=names, out_channels=4)
    neck = FPN(dict.fromkeys(names, 4), options, extra_levels=extra_levels)
    assert neck.size_divisibility == multiple
    sides = {name: multiple // 2 ** int(name[-1]) for name in names}
    levels = neck({name: torch.zeros(1, 4, side, side) for name, side in sides.items()})
    assert len(levels) == len(names) + extra_levels
