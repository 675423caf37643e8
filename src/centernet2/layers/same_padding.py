"""TensorFlow's SAME padding, for feature maps that a stride divides."""

from torch import Tensor, nn
from torch.nn import functional as F


class EvenConv2dSame(nn.Conv2d):
    """timm's Conv2dSame for sides that are multiples of the stride.

    The padding is then the same for all sizes: no operation depends on the size, so that the
    network can be exported with images of any size.
    """

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        x = F.pad(x, same_padding(self))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def same_padding(conv: nn.Conv2d) -> tuple[int, ...]:
    """Return the padding at left, right, top and bottom; the larger part comes last."""
    height, width = (
        max(0, dilation * (kernel - 1) + 1 - stride)
        for kernel, stride, dilation in zip(
            conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    )
    return (width // 2, width - width // 2, height // 2, height - height // 2)


def fix_same_padding(module: nn.Module) -> nn.Module:
    """Replace timm's Conv2dSame layers below `module` in place; keep their weights."""
    from timm.layers.conv2d_same import Conv2dSame

    for name, child in module.named_children():
        if isinstance(child, Conv2dSame):
            conv = EvenConv2dSame(
                child.in_channels,
                child.out_channels,
                child.kernel_size,  # type: ignore[arg-type]
                stride=child.stride,  # type: ignore[arg-type]
                dilation=child.dilation,  # type: ignore[arg-type]
                groups=child.groups,
                bias=child.bias is not None,
                device="meta",
            )
            conv.weight, conv.bias = child.weight, child.bias
            setattr(module, name, conv)
        else:
            fix_same_padding(child)
    return module
