"""Any timm network as a backbone: feature maps by stride, frozen stages, a choice of normalisation."""

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

from centernet2.layers.norm import convert_norm


class TimmBackbone(nn.Module):
    """Feature maps of a timm network.

    A map of stride 2**k is called `prefix` + k: res2 (stride 4) to res5 (stride 32) for a residual network.

    Args:
        name: timm's name of the architecture.
        out_features: the maps to return, for example ("res3", "res4", "res5").
        freeze_at: freezes the layers up to the map of stride 2**freeze_at; 0 trains all.
        norm: the layer that takes the place of batch normalisation (layers/norm.py).
        prefix: first part of the maps' names.
        options: passed on to timm.create_model.
    """

    def __init__(
        self, *, name: str, out_features: Sequence[str], freeze_at: int, norm: str, prefix: str = "res", **options: Any
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(f"timm has no network called '{name}'; timm.list_models() shows those it has")
        all_maps: Any = timm.create_model(name, features_only=True, **options).feature_info
        reductions = zip(all_maps.out_indices, all_maps.reduction(), strict=True)
        level_of_index = {i: r.bit_length() - 1 for i, r in reductions}
        index_of = {f"{prefix}{level}": i for i, level in level_of_index.items()}
        unknown = [f for f in out_features if f not in index_of]
        if unknown:
            raise ValueError(f"the backbone '{name}' has no feature '{unknown[0]}'; it has {', '.join(index_of)}")
        indices = sorted(index_of[f] for f in out_features)
        self.body = timm.create_model(name, features_only=True, out_indices=indices, **options)
        convert_norm(self.body, norm)
        maps: Any = self.body.feature_info
        self.out_features = [f"{prefix}{level_of_index[i]}" for i in indices]
        self.channels = dict(zip(self.out_features, maps.channels(), strict=True))
        self.strides = dict(zip(self.out_features, maps.reduction(), strict=True))
        self._freeze(freeze_at, {level: all_maps.module_name(i) for i, level in level_of_index.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # [N, 3, H, W]
        """Feature maps {name: [N, C, H / stride, W / stride]}."""
        return dict(zip(self.out_features, self.body(images), strict=True))

    def _freeze(self, freeze_at: int, last_module_of: dict[int, str]) -> None:
        if freeze_at < 1:
            return
        last = last_module_of[freeze_at].replace(".", "_")
        names = [name for name, _ in self.body.named_children()]
        if last not in names:
            raise ValueError(f"MODEL.BACKBONE.FREEZE_AT {freeze_at} cannot be applied to this backbone; set it to 0")
        for name in names[: names.index(last) + 1]:
            stage = getattr(self.body, name)
            stage.requires_grad_(False)
            # a frozen stage keeps its batch statistics as well
            setattr(self.body, name, convert_norm(nn.Sequential(stage), "FrozenBN")[0])  # type: ignore[index]
