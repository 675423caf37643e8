"""Networks by their timm names: our own of the usual backbones, else timm's.

Our own are equal to timm's, which takes longer to import than torch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from centernet2.layers import fix_same_padding
from centernet2.models.backbones.dla_network import DLANetwork
from centernet2.models.backbones.efficientnet_lite import SCALES, EfficientNetLite
from centernet2.models.backbones.residual_network import BLOCKS, ResidualNetwork

OWN: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": partial(ResidualNetwork, depth) for depth in BLOCKS},
    **{name: partial(EfficientNetLite, name) for name in SCALES},
    "dla34": DLANetwork,
}


def create_network(name: str, **options: Any) -> nn.Module:
    """Create a network that returns feature maps, with random weights.

    Args:
        name: as in timm.
        options: `out_indices`, the numbers of the feature maps, and those of the network.

    Returns:
        A module with `feature_info`: out_indices, channels(), reduction(), module_name(index).
    """
    if name in OWN:
        return OWN[name](**options)
    import timm

    # images are padded to multiples of Backbone.size_divisibility
    return fix_same_padding(timm.create_model(name, features_only=True, **options))


def is_network(name: str) -> bool:
    """Whether there is a network of a name."""
    if name in OWN:
        return True
    import timm

    return timm.is_model(name)


def similar_names(name: str) -> list[str]:
    """Return the names of networks that are most similar to a wrong one."""
    import difflib

    import timm

    return difflib.get_close_matches(name, timm.list_models(), n=3)
