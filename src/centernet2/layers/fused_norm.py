"""Frozen normalisation, computed with the convolution before it."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from centernet2.layers.convolution import Conv2d


class FoldedNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """A frozen normalisation that is computed by the convolution before it; it keeps its place and its tensors."""

    def gain_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the layer multiplies by and adds, [C] each."""
        gain = self.weight * (self.running_var + self.eps).rsqrt()
        return gain, self.bias - self.running_mean * gain

    def forward(self, x: Tensor) -> Tensor:
        return x


class NormalisedConv2d(Conv2d):
    """A convolution and the frozen normalisation behind it: conv(x, w) * gain + shift = conv(x, w * gain) + shift.

    A map is written once instead of three times, forward as well as backward. What is trained and saved are the
    convolution's own weights.
    """

    norm: (
        tuple[FoldedNorm] | tuple[()]
    )  # in a tuple: it is no child of this layer but of the layer's owner

    @classmethod
    def of(cls, conv: nn.Conv2d, norm: FoldedNorm) -> "NormalisedConv2d":
        """The convolution `conv`, its parameters shared, with a normalisation."""
        geometry: dict[str, Any] = {
            k: getattr(conv, k) for k in ("kernel_size", "stride", "padding", "dilation")
        }
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            groups=conv.groups,
            bias=False,
            device="meta",
            **geometry,
        )
        layer.weight, layer.bias, layer.norm = conv.weight, conv.bias, (norm,)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        gain, bias = self._gain_and_bias()
        return self._convolve(x, self.weight, bias, gain)

    def _gain_and_bias(self) -> tuple[Tensor | None, Tensor | None]:
        if not self.norm:
            return None, self.bias
        gain, shift = self.norm[0].gain_and_shift()
        return gain, shift if self.bias is None else shift + self.bias * gain

    @torch.no_grad()
    def settle(self) -> None:
        """Folds once and for all, in a network that is not going to be trained or saved."""
        gain, bias = self._gain_and_bias()
        if gain is not None:
            self.weight = nn.Parameter(self.weight * gain.view(-1, 1, 1, 1))
        self.bias = None if bias is None else nn.Parameter(bias)
        self.norm = ()


def fold_frozen_norms(network: nn.Module) -> None:
    """Lets the convolutions of a network compute the frozen normalisations behind them, in place.

    What belongs together is known by where it stands: neighbours in a Sequential, and `conv1` and `bn1`, or `convs` and
    `bns`, of a block. Other convolutions, such as deformable ones, leave their normalisation as it is.
    """
    for owner in list(network.modules()):
        names = [name for name, _ in owner.named_children()]
        if isinstance(owner, nn.Sequential):
            for conv, norm in pairwise(names):
                _fold((owner, conv), (owner, norm))
            continue
        for name in (name for name in names if name.startswith("bn")):
            convs, norms = _places(owner, name.replace("bn", "conv")), _places(owner, name)
            for conv_place, norm_place in zip(convs, norms, strict=True):
                _fold(conv_place, norm_place)


Place = tuple[nn.Module, str]  # a layer's owner and its name there


def _places(owner: nn.Module, name: str) -> list[Place]:
    """Where the layers lie that an attribute of a block stands for."""
    layer = owner.get_submodule(name)
    names = [child for child, _ in layer.named_children()]
    if isinstance(layer, nn.ModuleList):
        return [(layer, child) for child in names]
    return (
        [(layer, names[-1])] if isinstance(layer, nn.Sequential) else [(owner, name)]
    )  # the end of a deep stem


def _fold(conv_place: Place, norm_place: Place) -> None:
    conv: Any = conv_place[0].get_submodule(conv_place[1])
    norm: Any = norm_place[0].get_submodule(norm_place[1])
    if type(conv) not in (nn.Conv2d, Conv2d) or type(norm) is not FrozenBatchNorm2d:
        return
    folded = FoldedNorm(len(norm.weight), norm.eps).to(norm.weight.device)
    folded.load_state_dict(norm.state_dict())
    setattr(*norm_place, folded)
    setattr(*conv_place, NormalisedConv2d.of(conv, folded))
