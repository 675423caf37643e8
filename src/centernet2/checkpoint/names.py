"""One ordered table from our parameter names to those of the reference.

Names of the reference are mapped back by inverting it on the keys of a model.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Rename(NamedTuple):
    """Replacement of the pattern `ours` in a name by `reference`.

    It applies to models with a key that matches `with_key` and none that matches `without_key`.
    """

    ours: str
    reference: str
    with_key: str = ""
    without_key: str = r"(?!)"


BODY = "backbone.body."  # the network of timm

# Patterns that identify models whose parts have different names in the reference.
RES2NET = r"^backbone\.body\.layer1\.0\.convs\."
DLA_UP = r"^neck\.passes\."
# The EfficientDet variant has a lateral convolution for each node, the FCOS variant for each level.
BIFPN = r"^neck\.cells\.0\.laterals\.\d_to_\d_"
FCOS_BIFPN = r"^neck\.cells\.0\.laterals\.\d_to_\d\."

# Nodes of a five-level BiFPN in the reference's order. Our name: the level, then the fused inputs.
BIFPN_NODES = ("3_3_4", "2_2_5", "1_1_6", "0_0_7", "1_1_7_8", "2_2_6_9", "3_3_5_10", "4_4_11")

# A deformable convolution contains an ordinary one: https://arxiv.org/abs/1811.11168
DEFORMABLE = Rename(r"^(backbone\.body\..*\.(?:conv2|convs\.\d))\.conv\.", r"\1.")

# The rules are applied in order, each to the result of those before.
RENAMES: tuple[Rename, ...] = (
    # Res2Net: https://arxiv.org/abs/1904.01169
    Rename(r"^backbone\.body\.bn1\.", r"backbone.bottom_up.stem.bn1.", RES2NET),
    Rename(r"\.downsample\.1\.", r".shortcut.1.", RES2NET),
    Rename(r"\.downsample\.2\.", r".shortcut.1.norm.", RES2NET),
    # deformable stages
    Rename(r"^(backbone\.body\..*\.conv2)\.offset\.", r"\1_offset."),
    Rename(r"^(backbone\.body\..*)\.convs\.(\d)\.offset\.", r"\1.conv2_offsets.\2."),
    DEFORMABLE,
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
    # DLA: https://arxiv.org/abs/1707.06484
    Rename(r"^backbone\.body\.(base_layer|level\d)\.", r"backbone.base.\1.", DLA_UP),
    Rename(
        r"^backbone\.body\.(base_layer|level\d)\.", r"backbone.bottom_up.backbone.\1.", FCOS_BIFPN
    ),
    Rename(r"^backbone\.body\.(base_layer|level\d)\.", r"backbone.bottom_up.\1."),
    Rename(r"^neck\.passes\.(\d)\.", r"backbone.dla_up.ida_\1."),
    Rename(r"^neck\.final\.", r"backbone.ida_up."),
    Rename(r"^(backbone\..*ida_\w+)\.project\.", r"\1.proj_"),
    Rename(r"^(backbone\..*ida_\w+)\.upsample\.", r"\1.up_"),
    Rename(r"^(backbone\..*ida_\w+)\.merge\.", r"\1.node_"),
    Rename(r"^(backbone\..*ida_\w+\.(?:proj|node)_\d)\.0\.", r"\1."),
    Rename(r"^(backbone\..*ida_\w+\.(?:proj|node)_\d)\.1\.", r"\1.actf.0."),
    # FPN: https://arxiv.org/abs/1612.03144
    Rename(r"^neck\.(lateral|output)\.p(\d)\.", r"backbone.fpn_\1\2."),
    Rename(r"^(backbone\.fpn_(?:lateral|output)\d)\.0\.", r"\1."),
    Rename(r"^(backbone\.fpn_(?:lateral|output)\d)\.1\.", r"\1.norm."),
    Rename(r"^neck\.(p[67])\.", r"backbone.top_block.\1."),
    # BiFPN: https://arxiv.org/abs/1911.09070
    Rename(r"^neck\.reduce\.", r"backbone.resample.3.conv.", BIFPN),
    Rename(r"^neck\.cells\.", r"backbone.cell.", BIFPN),
    *(Rename(rf"\.nodes\.{node}\.", rf".fnode.{i}.", BIFPN) for i, node in enumerate(BIFPN_NODES)),
    *(
        Rename(rf"\.laterals\.(\d)_to_{node}\.", rf".fnode.{i}.combine.resample.\1.conv.", BIFPN)
        for i, node in enumerate(BIFPN_NODES)
    ),
    Rename(r"(\.fnode\.\d)\.weights$", r"\1.combine.edge_weights"),
    Rename(r"(\.fnode\.\d)\.conv\.", r"\1.after_combine.conv."),
    Rename(r"(\.after_combine\.conv)\.depthwise\.", r"\1.conv_dw."),
    Rename(r"(\.after_combine\.conv)\.pointwise\.", r"\1.conv_pw."),
    Rename(r"^(backbone\.(?:resample|cell)\..*\.conv)\.norm\.", r"\1.bn."),
    Rename(r"^neck\.reduce\.(conv\.)?", r"backbone.bottom_up.dla6.reduction.", FCOS_BIFPN),
    Rename(r"^neck\.cells\.", r"backbone.repeated_bifpn.", FCOS_BIFPN),
    Rename(r"(\.repeated_bifpn\.\d)\.nodes\.(\w+)\.weights$", r"\1.weights_f\2"),
    Rename(r"(\.repeated_bifpn\.\d)\.nodes\.(\w+)\.conv\.(conv\.)?", r"\1.outputs_f\2."),
    Rename(r"(\.repeated_bifpn\.\d)\.laterals\.(\d)_to_(\d)\.(conv\.)?", r"\1.lateral_\2_f\3."),
    # first stage
    Rename(r"^proposal_generator\.head\.", r"proposal_generator.centernet_head."),
    # second stage; a cascade of one has no stage number in the reference
    Rename(
        r"^roi_heads\.stages\.0\.", r"roi_heads.stages.", without_key=r"^roi_heads\.stages\.1\."
    ),
    Rename(r"^roi_heads\.stages\.(\d+\.)?box_head\.", r"roi_heads.box_head.\1"),
    Rename(r"^roi_heads\.mask_branch\.head\.", r"roi_heads.mask_head."),
    Rename(r"^(roi_heads\.(?:box_head\.(?:\d+\.)?conv|mask_head\.mask_fcn)\d)\.0\.", r"\1."),
    Rename(r"^(roi_heads\.(?:box_head\.(?:\d+\.)?conv|mask_head\.mask_fcn)\d)\.1\.", r"\1.norm."),
    Rename(
        r"^roi_heads\.stages\.(\d+\.)?(cls_score|bbox_pred)\.", r"roi_heads.box_predictor.\1\2."
    ),
    Rename(r"^roi_heads\.stages\.(\d+\.)?class_weight$", r"roi_heads.box_predictor.\1freq_weight"),
)

# Tensors that are not reported as missing or skipped: pixel statistics come from the config, class
# weights of the federated loss are stored twice in the reference, frozen normalization counts no
# batches, and the projections of DLA's two-level trees are unused.
IGNORED = re.compile(
    r"(^|\.)(pixel_mean|pixel_std|fed_loss_cls_weights|num_batches_tracked"
    r"|level[34]\.project\.[01]\.\w+)$"
)

_SCALE = re.compile(r"^(.*\.scales)\.(\d+)\.scale$")


def reference_names(our_keys: Iterable[str]) -> dict[str, str]:
    """Return the reference's name of each key; the key itself if no rule applies."""
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


def from_suffixes(our_keys: Iterable[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Map names that are suffixes of the reference's to our keys.

    As in detectron2, a parameter takes the longest suffix of its name that the file has.
    """
    known = set(names)
    keys: dict[str, list[str]] = {}
    for key, name in reference_names(our_keys).items():
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        if longest := next((end for end in ends if end in known), None):
            keys.setdefault(longest, []).append(key)
    return keys


def from_network(our_keys: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return our key for each name of a backbone of timm, torchvision or its authors."""
    body = [key for key in our_keys if key.startswith(BODY)]
    keys = {re.sub(DEFORMABLE.ours, DEFORMABLE.reference, key): key for key in body} | {
        key: key for key in body
    }
    ours = {}
    for name in names:
        # stages.0.x becomes stages_0.x when timm extracts features
        flat = re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", name)
        if key := keys.get(BODY + name) or keys.get(BODY + flat):
            ours[name] = key
    return ours


def to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a whole state dict from our names to the reference's."""
    names = reference_names(state)
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = names[key]
        if name.endswith(".scales"):
            renamed |= {
                f"{name}.{level}.scale": scale.reshape(1) for level, scale in enumerate(tensor)
            }
            continue
        renamed[name] = tensor
        if name.endswith(".freq_weight"):
            renamed[name.removesuffix("freq_weight") + "fed_loss_cls_weights"] = tensor
    return renamed


def join_scales(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the reference's scalars `scales.<level>.scale` into the vector `scales`."""
    joined = {name: tensor for name, tensor in state.items() if not _SCALE.match(name)}
    levels: dict[str, dict[int, Tensor]] = {}
    for name, tensor in state.items():
        if match := _SCALE.match(name):
            levels.setdefault(match[1], {})[int(match[2])] = tensor.reshape(1)
    for name, scales in levels.items():
        joined[name] = torch.cat([scales[level] for level in sorted(scales)])
    return joined
