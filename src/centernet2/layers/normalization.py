"""Normalization layers by their names in a config."""

from collections.abc import Callable
from functools import partial

from timm.layers.norm import LayerNorm2d
from timm.layers.norm_act import (
    BatchNormAct2d,
    FrozenBatchNormAct2d,
    GroupNormAct,
    LayerNormAct2d,
    SyncBatchNormAct,
)
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "": lambda channels: nn.Identity(),
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(_groups(channels), channels),
    "LN": partial(LayerNorm2d, eps=1e-6),  # over the channels of each location
}
NORM_ACTS: dict[str, Callable[[int], nn.Module]] = {
    "SyncBN": SyncBatchNormAct,
    "FrozenBN": FrozenBatchNormAct2d,
    "GN": lambda channels: GroupNormAct(channels, _groups(channels)),
    "LN": LayerNormAct2d,
}


def make_norm(name: str, channels: int) -> nn.Module:
    """Make the normalization layer called `name` ("" for none)."""
    if name not in NORMS:
        raise ValueError(f"norm is '{name}'; choose one of {', '.join(repr(n) for n in NORMS)}")
    return NORMS[name](channels)


def convert_norm(module: nn.Module, name: str) -> nn.Module:
    """Replace batch normalization below `module` by the layer `name`, in place.

    Weights, statistics and options are kept.
    """
    if name == "BN":
        return module
    for child_name, child in module.named_children():
        if isinstance(child, BatchNormAct2d):
            setattr(module, child_name, _with_activation(child, name))
        elif isinstance(child, nn.BatchNorm2d | nn.SyncBatchNorm):
            setattr(module, child_name, _take_state(make_norm(name, child.num_features), child))
        else:
            convert_norm(child, name)
    return module


def _with_activation(layer: BatchNormAct2d, name: str) -> nn.Module:
    """Convert timm's layer of normalization and activation to another normalization."""
    if name not in NORM_ACTS:
        make_norm(name, layer.num_features)  # raises an error that lists the names
        return nn.Sequential(layer.drop, layer.act)
    norm = _take_state(NORM_ACTS[name](layer.num_features), layer)
    norm.drop, norm.act = layer.drop, layer.act
    return norm


def _take_state(norm: nn.Module, layer: nn.BatchNorm2d | nn.SyncBatchNorm) -> nn.Module:
    norm.to(layer.weight.device).load_state_dict(layer.state_dict(), strict=False)
    for option in ("eps", "momentum"):
        if hasattr(norm, option):
            setattr(norm, option, getattr(layer, option))
    return norm


def _groups(channels: int) -> int:
    """Choose 32 groups as in GroupNorm's paper, else 25 as the reference, else fewer."""
    for groups in (32, 25):
        if channels % groups == 0:
            return groups
    return next(groups for groups in range(min(32, channels), 0, -1) if channels % groups == 0)
