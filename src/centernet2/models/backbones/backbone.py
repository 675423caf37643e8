"""Base of all backbones: a network with timm's names, frozen stages and a norm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from centernet2.layers import convert_norm
from centernet2.models.backbones.networks import OWN, create_network, is_network, similar_names

PROBE_SIZE = (224, 320)  # height and width of a test image that is not square
# options of timm.create_model that may allow images of any size
ANY_SIZE_OPTIONS: tuple[dict[str, Any], ...] = ({}, {"strict_img_size": False})


@dataclass(frozen=True)
class TimmOptions:
    """Backbones of timm."""

    name: str = ""
    pretrained: bool = False
    out_indices: tuple[int, ...] = ()  # timm's numbers of the feature maps
    neck: str = "fpn"  # name in necks.NECKS


class Backbone(nn.Module):
    """Base of all backbones: the feature maps of a network, by name.

    A feature map of stride 2**k is called `prefix` + k: res2 (stride 4) to res5 (stride 32).
    Images are padded to multiples of `size_divisibility`, and of the neck's.

    Args:
        name: timm's name of the architecture.
        out_features: the feature maps to return, for example ("res3", "res4", "res5").
        freeze_at: freeze the layers up to the feature map of stride 2**freeze_at; 0 trains all.
        norm: the layer that replaces batch normalization (layers/normalization.py).
        prefix: first part of the feature maps' names.
        options: those of `create_network`.
    """

    size_divisibility = 1

    def __init__(
        self,
        *,
        name: str,
        out_features: Sequence[str],
        freeze_at: int,
        norm: str,
        prefix: str = "res",
        **options: Any,
    ) -> None:
        super().__init__()
        all_maps = feature_maps(name, **options)
        level_of_index = dict(zip(all_maps.out_indices, _levels(name, all_maps), strict=True))
        index_of = {f"{prefix}{level}": i for i, level in level_of_index.items()}
        unknown = [f for f in out_features if f not in index_of]
        if unknown:
            raise ValueError(
                f"backbone '{name}' has no feature map '{unknown[0]}'; it has {', '.join(index_of)}"
            )
        indices = sorted(index_of[f] for f in out_features)
        self.body = create_network(name, out_indices=indices, **options)
        self.norm = norm
        self.channels_last = str(getattr(self.body, "output_fmt", "")).endswith("NHWC")
        convert_norm(self.body, norm)
        maps: Any = self.body.feature_info
        self.out_features = [f"{prefix}{level_of_index[i]}" for i in indices]
        self.channels = dict(zip(self.out_features, maps.channels(), strict=True))
        self.strides = dict(zip(self.out_features, maps.reduction(), strict=True))
        if freeze_at > 0:
            module_of = {level: all_maps.module_name(i) for i, level in level_of_index.items()}
            if freeze_at not in module_of:
                raise ValueError(
                    f"freeze_at is {freeze_at}, but '{name}' can be frozen up to "
                    f"{', '.join(map(str, module_of))}; 0 trains all"
                )
            freeze_up_to(self.body, module_of[freeze_at])

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # [N, 3, H, W]
        """Compute feature maps {name: [N, C, H / stride, W / stride]}."""
        maps = self.body(images)
        if self.channels_last:
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        return dict(zip(self.out_features, maps, strict=True))


def feature_maps(name: str, **options: Any) -> Any:
    """Return timm's description of all feature maps of a network.

    The description has out_indices, channels(), reduction() and module_name(index).
    """
    if not is_network(name):
        near = similar_names(name)
        hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
        raise ValueError(f"timm has no network called '{name}'; {hint}")
    try:
        with torch.device("meta"):
            return create_network(name, **options).feature_info
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ValueError(f"timm's '{name}' gives no feature maps: {error}") from None


def features_at(name: str, indices: Sequence[int]) -> tuple[str, ...]:
    """Return the names of feature maps from timm's indices, finest first."""
    maps = feature_maps(name)
    level_of_index = dict(zip(maps.out_indices, _levels(name, maps), strict=True))
    unknown = [i for i in indices if i not in level_of_index]
    if unknown:
        raise ValueError(
            f"out_indices names the feature map {unknown[0]}, but '{name}' has "
            f"{', '.join(map(str, level_of_index))}"
        )
    return tuple(f"res{level_of_index[i]}" for i in sorted(indices))


def any_size_options(name: str) -> dict[str, Any]:
    """Return options of timm.create_model with which a network accepts any image size.

    Raises:
        ValueError: the network accepts only one size.
    """
    if name in OWN:
        return {}
    feature_maps(name)
    for options in ANY_SIZE_OPTIONS:
        try:
            _map_sizes(name, PROBE_SIZE, options)
            return options
        except (AssertionError, RuntimeError, TypeError, ValueError):
            continue
    raise ValueError(
        f"timm's '{name}' accepts only one image size; choose another network for a detector"
    )


def exact_multiple(name: str, strides: Mapping[str, int], options: dict[str, Any]) -> int:
    """Return the multiple to pad images to, for feature maps of exactly H / stride.

    Args:
        strides: of the feature maps that are used, by name.
        options: of timm.create_model.

    Raises:
        ValueError: there is none, because the network crops its feature maps.
    """
    coarsest = max(strides.values())
    if name in OWN:
        return coarsest
    for multiple in (coarsest, 2 * coarsest):  # some networks split feature maps into 2 x 2
        height, width = 7 * multiple, 5 * multiple
        sizes = _map_sizes(name, (height, width), options)
        wrong = [f for f, s in strides.items() if sizes[s] != (height // s, width // s)]
        if not wrong:
            return multiple
    stride, actual = strides[wrong[0]], sizes[strides[wrong[0]]]
    raise ValueError(
        f"timm's '{name}' turns images of {height} x {width} into a feature map {wrong[0]} of "
        f"{actual[0]} x {actual[1]}, but a neck needs {height // stride} x {width // stride}; "
        "choose another network (docs/backbones.md)"
    )


def _map_sizes(
    name: str, size: tuple[int, int], options: dict[str, Any]
) -> dict[int, tuple[int, int]]:
    """Return height and width of the feature maps of an image, by stride."""
    network = _meta_network(name, **options)
    with torch.device("meta"), torch.no_grad():
        maps = network(torch.empty(1, 3, *size))
    first = 1 if str(getattr(network, "output_fmt", "")).endswith("NHWC") else 2
    sizes = [(x.shape[first], x.shape[first + 1]) for x in maps]
    description: Any = network.feature_info
    return dict(zip(description.reduction(), sizes, strict=True))


@lru_cache(maxsize=1)  # several sizes are tried on one network
def _meta_network(name: str, **options: Any) -> nn.Module:
    """Create a network of timm on the meta device, in evaluation mode.

    In training mode, batch normalization refuses a single pixel.
    """
    with torch.device("meta"):
        return create_network(name, **options).eval()


def pixel_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of pixels that timm's weights expect.

    Both are for RGB in 0..255.
    """
    import timm  # which takes longer to import than torch

    pretrained: Any = timm.get_pretrained_cfg(name)
    return tuple(255 * x for x in pretrained.mean), tuple(255 * x for x in pretrained.std)


def freeze_up_to(body: nn.Module, last: str) -> None:
    """Freeze all layers up to the module called `last`, with their batch statistics."""
    names = [name for name, _ in body.named_modules() if name]
    last = last if last in names else last.replace(".", "_")  # timm may flatten two levels of names
    if last not in names:
        raise ValueError("freeze_at cannot be applied to this backbone; set it to 0")
    end = max(i for i, name in enumerate(names) if f"{name}.".startswith(f"{last}."))
    for name in names[: end + 1]:
        parent, _, leaf = name.rpartition(".")
        # the outermost modules that do not contain `last`
        if not last.startswith(f"{name}.") and (not parent or last.startswith(f"{parent}.")):
            owner = body.get_submodule(parent)
            frozen = convert_norm(
                nn.Sequential(body.get_submodule(name).requires_grad_(False)), "FrozenBN"
            )
            setattr(owner, leaf, frozen[0])  # type: ignore[index]


def backbone_stages(backbone: nn.Module) -> list[nn.Module]:
    """Return the stages of a backbone: children with parameters, below any wrappers.

    They are the units of learning rates, recomputation and sharding.
    """
    stages = [backbone]
    while len(stages) == 1:
        children = [
            child for child in stages[0].children() if next(child.parameters(), None) is not None
        ]
        if not children:
            return stages
        stages = children
    return stages


def _levels(name: str, maps: Any) -> list[int]:
    strides = maps.reduction()
    if any(stride & (stride - 1) for stride in strides):
        raise ValueError(
            f"timm's '{name}' has strides {strides}; a feature pyramid needs powers of two"
        )
    return [stride.bit_length() - 1 for stride in strides]
