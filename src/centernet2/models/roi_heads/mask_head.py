"""Instance masks of pooled regions (arXiv 1703.06870, figure 4 right)."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from centernet2.layers.convolution import conv_norm, init_he, init_normal


@dataclass(frozen=True)
class MaskHeadOptions:
    """Network of the mask head."""

    num_conv: int = 0
    conv_dim: int = 256
    norm: str = ""
    cls_agnostic_mask: bool = False


class MaskHead(nn.Sequential):
    """Convolutions, each with a ReLU, then twice the resolution and a mask per class: [R, channels, size, size] ->
    logits [R, C or 1, 2 * size, 2 * size].

    Args:
        in_channels: of the pooled regions.
        num_classes: without background.
        num_conv, conv_dim, norm: how many 3x3 convolutions, their channels, their normalisation.
        cls_agnostic_mask: one mask for all classes.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_conv: int,
        conv_dim: int,
        norm: str,
        cls_agnostic_mask: bool,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for k in range(1, num_conv + 1):
            layers[f"mask_fcn{k}"] = conv_norm(in_channels, conv_dim, 3, norm=norm)
            layers[f"mask_fcn_relu{k}"] = nn.ReLU()
            in_channels = conv_dim
        layers["deconv"] = nn.ConvTranspose2d(in_channels, conv_dim, kernel_size=2, stride=2)
        layers["deconv_relu"] = nn.ReLU()
        predictor = nn.Conv2d(conv_dim, 1 if cls_agnostic_mask else num_classes, kernel_size=1)
        layers["predictor"] = predictor
        super().__init__(layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                init_he(layer)
        init_normal(predictor, std=0.001)
