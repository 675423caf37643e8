"""Normalisation layers by the names that configurations use."""

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "": lambda channels: nn.Identity(),
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(_groups(channels), channels),
    "LN": partial(nn.GroupNorm, 1),
}
NORM_MODULES = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, FrozenBatchNorm2d)


def make_norm(name: str, channels: int) -> nn.Module:
    """The normalisation layer called `name` ("" for none) over `channels` channels."""
    if name not in NORMS:
        raise ValueError(f"normalisation '{name}' is unknown; choose one of {', '.join(repr(n) for n in NORMS)}")
    return NORMS[name](channels)


def convert_norm(module: nn.Module, name: str) -> nn.Module:
    """Replaces every BatchNorm2d below `module` by the layer called `name`, statistics and gains included."""
    if name == "BN":
        return module
    for child_name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = make_norm(name, child.num_features)
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, child_name, norm)
        else:
            convert_norm(child, name)
    return module


def _groups(channels: int) -> int:
    """32 groups as in the GroupNorm paper, or the 25 that the reference takes where 32 does not divide."""
    if channels % 32 == 0:
        return 32
    return 25 if channels % 25 == 0 else next(g for g in range(min(32, channels), 0, -1) if channels % g == 0)
