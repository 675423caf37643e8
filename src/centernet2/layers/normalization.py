"""Normalization layers by their names in a config."""

from collections.abc import Callable
from typing import Any

from torch import nn

from centernet2.layers.frozen_norm import FrozenBatchNorm2d, FrozenBatchNormAct2d

BatchNorm = nn.BatchNorm2d | nn.SyncBatchNorm


def _layer_norm(channels: int) -> nn.Module:
    """Make a normalization over the channels of each location."""
    from timm.layers.norm import LayerNorm2d  # timm takes longer to import than torch

    return LayerNorm2d(channels, eps=1e-6)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "": lambda channels: nn.Identity(),
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(_groups(channels), channels),
    "LN": _layer_norm,
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
        if isinstance(child, BatchNorm):
            convert = _with_activation if hasattr(child, "act") else _without_activation
            setattr(module, child_name, convert(child, name))
        else:
            convert_norm(child, name)
    return module


def _without_activation(layer: BatchNorm, name: str) -> nn.Module:
    return _take_state(make_norm(name, layer.num_features), layer)


def _with_activation(layer: Any, name: str) -> nn.Module:
    """Convert timm's layer of normalization and activation to another normalization."""
    from timm.layers.norm_act import GroupNormAct, LayerNormAct2d, SyncBatchNormAct

    channels: int = layer.num_features
    kinds: dict[str, Callable[[], nn.Module]] = {
        "SyncBN": lambda: SyncBatchNormAct(channels),
        "FrozenBN": lambda: FrozenBatchNormAct2d(channels),
        "GN": lambda: GroupNormAct(channels, _groups(channels)),
        "LN": lambda: LayerNormAct2d(channels),
    }
    if name not in kinds:
        make_norm(name, channels)  # raises an error that lists the names
        return nn.Sequential(layer.drop, layer.act)
    norm = _take_state(kinds[name](), layer)
    norm.drop, norm.act = layer.drop, layer.act
    return norm


def _take_state(norm: nn.Module, layer: BatchNorm) -> nn.Module:
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
