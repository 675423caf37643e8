"""Instance masks of RoIs (arXiv 1703.06870, figure 4 right)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from centernet2.layers import conv_norm, init_he, init_normal
from centernet2.models.roi_heads.pooler import RoIPooler, number_boxes
from centernet2.models.roi_heads.sampling import RoIs
from centernet2.ops.masks import mask_loss, mask_targets
from centernet2.ops.tensors import of_labels
from centernet2.structures import Detections, Target


@dataclass(frozen=True)
class MaskHeadOptions:
    """Network of the mask head."""

    num_conv: int = 0  # 3x3 convolutions
    conv_dim: int = 256  # their channels
    norm: str = ""  # their normalization
    class_agnostic: bool = False  # one mask for all classes


class MaskHead(nn.Sequential):
    """Convolutions, upsampling by 2, then a mask for each class.

    It maps [R, in_channels, size, size] to logits [R, C or 1, 2 * size, 2 * size].

    Args:
        in_channels: channels of the pooled features.
        num_classes: without background.
        options: number and width of the layers.
    """

    def __init__(
        self, in_channels: int, num_classes: int, options: MaskHeadOptions = MaskHeadOptions()
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for k in range(1, options.num_conv + 1):
            layers[f"mask_fcn{k}"] = conv_norm(in_channels, options.conv_dim, 3, norm=options.norm)
            layers[f"mask_fcn_relu{k}"] = nn.ReLU()
            in_channels = options.conv_dim
        layers["deconv"] = nn.ConvTranspose2d(
            in_channels, options.conv_dim, kernel_size=2, stride=2
        )
        layers["deconv_relu"] = nn.ReLU()
        masks = 1 if options.class_agnostic else num_classes
        predictor = nn.Conv2d(options.conv_dim, masks, kernel_size=1)
        layers["predictor"] = predictor
        super().__init__(layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                init_he(layer)
        init_normal(predictor, std=0.001)


class MaskBranch(nn.Module):
    """Prediction of masks inside given boxes.

    Args:
        pooler: pools RoI features.
        head: network of the pooled features.
    """

    def __init__(self, pooler: RoIPooler, head: MaskHead) -> None:
        super().__init__()
        self.pooler = pooler
        self.head = head

    def forward(self, levels: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Return mask logits [R, C or 1, M, M] of RoIs [R, 5]."""
        logits: Tensor = self.head(self.pooler(levels, rois))
        return logits

    def probabilities(self, levels: Sequence[Tensor], rois: Tensor, labels: Tensor) -> Tensor:
        """Return mask probabilities [R, M, M] of RoIs [R, 5] with labels [R]."""
        return of_labels(self(levels, rois), labels).float().sigmoid()

    def predict(self, levels: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Return mask probabilities [D, M, M] of detections, each in the grid of its box."""
        rois = number_boxes([each["boxes"] for each in detections])
        labels = torch.cat([each["labels"] for each in detections])
        masks = self.probabilities(levels, rois, labels)
        return list(torch.split(masks, [len(each["boxes"]) for each in detections]))

    def loss(
        self,
        levels: Sequence[Tensor],
        rois: Sequence[RoIs],
        targets: Sequence[Target],
        num_classes: int,
    ) -> Tensor:
        """Return the mean loss of the masks of positive RoIs."""
        logits = self(levels, number_boxes([each.boxes for each in rois]))
        masks = [
            mask_targets(target["masks"], each.boxes, each.objects, logits.shape[-1])
            for each, target in zip(rois, targets, strict=True)
        ]
        labels = torch.cat([each.labels for each in rois])
        positive = (labels < num_classes) & torch.cat([each.valid for each in rois])
        return mask_loss(logits, torch.cat(masks), labels, positive)
