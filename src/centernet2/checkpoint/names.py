"""One ordered table from our parameter names to the reference's; the way back is its inverse on a model's own keys."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Rename(NamedTuple):
    """A rewriting rule: `ours` is searched for in a name and replaced by `reference`, in models that have a key
    matching `with_key` and none matching `without_key`."""

    ours: str
    reference: str
    with_key: str = ""
    without_key: str = r"(?!)"


# Every rule is applied in turn, so that a later one sees the result of the earlier ones.
RENAMES: tuple[Rename, ...] = (
    # ResNet: https://arxiv.org/abs/1512.03385
    Rename(r"^backbone\.body\.conv1\.", r"backbone.bottom_up.stem.conv1."),
    Rename(r"^backbone\.body\.bn1\.", r"backbone.bottom_up.stem.conv1.norm."),
    Rename(r"^backbone\.body\.layer1\.", r"backbone.bottom_up.res2."),
    Rename(r"^backbone\.body\.layer2\.", r"backbone.bottom_up.res3."),
    Rename(r"^backbone\.body\.layer3\.", r"backbone.bottom_up.res4."),
    Rename(r"^backbone\.body\.layer4\.", r"backbone.bottom_up.res5."),
    Rename(r"^(backbone\.bottom_up\.res\d\.\d+)\.downsample\.0\.", r"\1.shortcut."),
    Rename(r"^(backbone\.bottom_up\.res\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
    Rename(r"^(backbone\.bottom_up\.res\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    # FPN: https://arxiv.org/abs/1612.03144
    Rename(r"^neck\.(lateral|output)\.p(\d)\.", r"backbone.fpn_\1\2."),
    Rename(r"^neck\.(p[67])\.", r"backbone.top_block.\1."),
    # first stage
    Rename(r"^proposal_generator\.head\.", r"proposal_generator.centernet_head."),
    # second stage; a cascade of one has no stage number in the reference
    Rename(r"^roi_heads\.stages\.0\.", r"roi_heads.stages.", without_key=r"^roi_heads\.stages\.1\."),
    Rename(r"^roi_heads\.stages\.(\d+\.)?box_head\.", r"roi_heads.box_head.\1"),
    Rename(r"^roi_heads\.stages\.(\d+\.)?(cls_score|bbox_pred)\.", r"roi_heads.box_predictor.\1\2."),
    Rename(r"^roi_heads\.stages\.(\d+\.)?class_weight$", r"roi_heads.box_predictor.\1freq_weight"),
)

# What a file may hold and a model may lack without a word: the normalisation of the input is read from the
# configuration, the federated loss keeps one copy of its class weights, and frozen normalisation counts nothing.
IGNORED = re.compile(r"(^|\.)(pixel_mean|pixel_std|fed_loss_cls_weights|num_batches_tracked)$")

_SCALE = re.compile(r"^(.*\.scales)\.(\d+)\.scale$")


def reference_names(our_keys: Iterable[str]) -> dict[str, str]:
    """The reference's name of each of a model's keys; a key that no rule touches keeps its name."""
    keys = list(our_keys)
    rules = [(re.compile(rule.ours), rule.reference) for rule in RENAMES if _applies(rule, keys)]
    names = {}
    for key in keys:
        name = key
        for pattern, replacement in rules:
            name = pattern.sub(replacement, name)
        names[key] = name
    return names


def _applies(rule: Rename, keys: list[str]) -> bool:
    return any(re.search(rule.with_key, key) for key in keys) and not any(
        re.search(rule.without_key, key) for key in keys
    )


def to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole state dict of ours under the reference's names."""
    names = reference_names(state)
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = names[key]
        if name.endswith(".scales"):
            renamed |= {f"{name}.{level}.scale": scale.reshape(1) for level, scale in enumerate(tensor)}
            continue
        renamed[name] = tensor
        if name.endswith(".freq_weight"):
            renamed[name.removesuffix("freq_weight") + "fed_loss_cls_weights"] = tensor
    return renamed


def join_scales(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's one-element `scales.<level>.scale` become the one vector `scales`."""
    joined = {name: tensor for name, tensor in state.items() if not _SCALE.match(name)}
    levels: dict[str, dict[int, Tensor]] = {}
    for name, tensor in state.items():
        if found := _SCALE.match(name):
            levels.setdefault(found[1], {})[int(found[2])] = tensor.reshape(1)
    for name, scales in levels.items():
        joined[name] = torch.cat([scales[level] for level in sorted(scales)])
    return joined
