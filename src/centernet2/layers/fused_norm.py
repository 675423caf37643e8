"""Frozen normalization that is fused into the convolution before it.

conv(x, w) * gain + shift = conv(x, w * gain) + shift, which writes a feature map once instead of
three times. `fuse_frozen_norms` keeps the weights separate, so that they can be trained and saved;
`fuse_into_weights` multiplies them, for inference.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from centernet2.kernels import conv2d
from centernet2.layers.convolution import Conv2d
from centernet2.layers.frozen_norm import FrozenBatchNorm2d, FrozenBatchNormAct2d
from centernet2.layers.norm_pairs import NormPair
from centernet2.layers.same_padding import EvenConv2dSame, same_padding

PLAIN_CONVS = (nn.Conv2d, Conv2d, EvenConv2dSame)  # linear in their weights; subclasses may not be


class FusedNorm(FrozenBatchNorm2d):
    """A frozen normalization that the convolution computes; name and tensors are kept."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, which is already normalized."""
        return x


class FusedNormAct(FrozenBatchNormAct2d):
    """A frozen normalization with an activation, which remains."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to an input that is already normalized."""
        return self.act(self.drop(x))  # type: ignore[no-any-return]


class FusedConv2d(Conv2d):
    """A convolution that also computes the frozen normalization behind it.

    The convolution's own weights are trained and saved.
    """

    norm: tuple[FusedNorm | FusedNormAct]  # in a tuple, so that it is no child module of this layer
    same: tuple[int, ...] = ()  # TensorFlow's SAME padding at left, right, top and bottom

    @classmethod
    def of(cls, conv: nn.Conv2d, norm: FusedNorm | FusedNormAct) -> "FusedConv2d":
        """Fuse a convolution, whose parameters are shared, with a normalization."""
        layer = cls(**_options(conv))
        layer.same = same_padding(conv) if isinstance(conv, EvenConv2dSame) else ()
        layer.weight, layer.bias, layer.norm = conv.weight, conv.bias, (norm,)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalize [N, C, H, W]: [N, O, h, w]."""
        gain, bias = gain_and_bias(self.bias, self.norm[0])
        x = F.pad(x, self.same) if self.same else x
        return conv2d(x, self.weight, bias, self.geometry, gain=gain)


def gain_and_bias(bias: Tensor | None, norm: Any) -> tuple[Tensor, Tensor]:
    """Return the factor [C] of a convolution's weight and the bias [C] for a norm."""
    gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * gain
    return gain, shift if bias is None else shift + bias * gain


def fuse_frozen_norms(network: nn.Module, pairs: Iterable[NormPair]) -> None:
    """Fuse convolutions with the frozen normalization behind them, in place.

    The network can still be trained. Other convolutions, such as deformable ones, are not changed.
    """
    new: dict[nn.Module, nn.Module] = {}
    for conv, norm in pairs:
        if type(conv) in PLAIN_CONVS and type(norm) in (FrozenBatchNorm2d, FrozenBatchNormAct2d):
            fused = _fused_norm(norm)
            new |= {norm: fused, conv: FusedConv2d.of(conv, fused)}
    _replace(network, new)


def _fused_norm(norm: Any) -> FusedNorm | FusedNormAct:
    """Make the layer that remains of a normalization, with its tensors and activation."""
    kind = FusedNormAct if isinstance(norm, FrozenBatchNormAct2d) else FusedNorm
    fused: Any = kind(norm.weight.numel(), eps=norm.eps).to(norm.weight.device)
    fused.load_state_dict(norm.state_dict())
    if kind is FusedNormAct:
        fused.drop, fused.act = norm.drop, norm.act
    return fused  # type: ignore[no-any-return]


@torch.no_grad()
def fuse_into_weights(network: nn.Module, pairs: Iterable[NormPair]) -> list[nn.Conv2d]:
    """Fuse frozen normalization into convolution weights, in place, for inference.

    Returns:
        The convolutions with changed weights, including those of `fuse_frozen_norms`.
    """
    fused = [layer for layer in network.modules() if isinstance(layer, FusedConv2d)]
    joined: dict[nn.Conv2d, Any] = {layer: layer.norm[0] for layer in fused}
    joined |= {conv: norm for conv, norm in pairs if type(conv) in PLAIN_CONVS}
    new: dict[nn.Module, nn.Module] = {}
    for conv, norm in joined.items():
        new[conv] = _with_fused_weights(conv, norm)
        is_active = isinstance(norm, FrozenBatchNormAct2d)
        new[norm] = nn.Sequential(norm.drop, norm.act) if is_active else nn.Identity()
    _replace(network, new)
    return [cast(nn.Conv2d, new[conv]) for conv in joined]


def _with_fused_weights(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Make a convolution whose weights contain the normalization."""
    gain, bias = gain_and_bias(conv.bias, norm)
    is_same = isinstance(conv, EvenConv2dSame) or (isinstance(conv, FusedConv2d) and conv.same)
    layer = EvenConv2dSame(**_options(conv)) if is_same else Conv2d(**_options(conv))
    layer.weight = nn.Parameter(conv.weight * gain.view(-1, 1, 1, 1))
    layer.bias = nn.Parameter(bias)
    return layer.eval()


def _options(conv: nn.Conv2d) -> dict[str, Any]:
    """Return arguments for a convolution of equal geometry, without weights."""
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    )
    return {name: getattr(conv, name) for name in names} | {"bias": False, "device": "meta"}


def _replace(network: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    for owner in list(network.modules()):
        for name, layer in list(owner.named_children()):
            if layer in new:
                setattr(owner, name, new[layer])
