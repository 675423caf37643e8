"""FPN: the multiple to which images are padded, and gradients of maps one column wide."""

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


def test_gradients_in_bfloat16_of_maps_one_column_wide() -> None:
    """The gradients do not contain memory that was never set."""
    torch.manual_seed(0)
    neck = FPN({"res5": 32}, FPNOptions(in_features=("res5",), out_channels=32), extra_levels=2)
    features = torch.randn(2, 32, 4, 1)

    def gradients() -> list[torch.Tensor]:
        dirty = [torch.full((2**power,), float("nan")) for power in range(6, 21) for _ in range(8)]
        levels = neck({"res5": features})
        loss = sum(level.float().square().sum() for level in levels.values())
        del dirty
        return list(torch.autograd.grad(loss, list(neck.parameters())))

    expected = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        actual = gradients()
    for value, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(
            value, reference, rtol=0, atol=0.05 * reference.abs().max().item()
        )
