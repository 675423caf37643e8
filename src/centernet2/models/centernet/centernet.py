"""CenterNet as a first stage (arXiv 2103.07461, section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from centernet2.models.centernet.assigner import Assigner
from centernet2.models.centernet.criterion import Criterion
from centernet2.models.centernet.decoder import Decoder
from centernet2.models.centernet.head import CenterNetHead, HeadOutput
from centernet2.ops.boxes import Size
from centernet2.structures import Proposals, Target


@dataclass(frozen=True)
class CenterNetOptions:
    """Levels of the first stage."""

    in_features: tuple[str, ...] = ("p3", "p4", "p5", "p6", "p7")
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    class_proposals: bool = False  # see CenterNet


class CenterNetOutput(NamedTuple):
    """Output of the first stage for a batch of images."""

    proposals: list[Proposals]  # of each image
    losses: dict[str, Tensor]  # in training
    head: HeadOutput | None  # raw predictions that proposals are decoded from; None in training


class CenterNet(nn.Module):
    """A dense detector with a heat map: the probability of object centers.

    It needs only a feature pyramid. It serves as a one-stage detector or, in place of a region
    proposal network, as the first stage of any two-stage detector.

    Args:
        head: feature pyramid -> heat maps and box distances.
        assigner: ground truth -> targets of the head.
        criterion: predictions and targets -> losses.
        decoder: predictions -> proposals.
        in_features: names of the levels; None: all feature maps, in their order.
        class_proposals: whether a head that predicts classes gives proposals in training. A head of
            objectness alone always does.
    """

    def __init__(
        self,
        head: CenterNetHead,
        assigner: Assigner,
        criterion: Criterion,
        decoder: Decoder,
        *,
        in_features: Sequence[str] | None = None,
        class_proposals: bool = False,
    ) -> None:
        super().__init__()
        if in_features is not None and len(in_features) != len(decoder.strides):
            raise ValueError(
                f"there are {len(in_features)} in_features and {len(decoder.strides)} strides; "
                "give one of each per level"
            )
        self.head = head
        self.assigner = assigner
        self.criterion = criterion
        self.decoder = decoder
        self.in_features = in_features if in_features is None else list(in_features)
        self.proposes_in_training = class_proposals or not head.predicts_classes

    def levels(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Select the feature maps of the head, finest first."""
        names = features if self.in_features is None else self.in_features
        if len(names) != len(self.head.scales):
            raise ValueError(
                f"the features have {len(names)} levels ({', '.join(names)}), but there are "
                f"{len(self.head.scales)} strides; give one stride per level"
            )
        return [features[name] for name in names]

    def forward(
        self,
        features: Mapping[str, Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Target] | None = None,
        *,
        padded: bool = False,
    ) -> CenterNetOutput:
        """Return the proposals of every image and, in training, the losses.

        Args:
            features: feature maps [N, channels, h, w] by name.
            sizes: (height, width) of each image before padding.
            targets: ground truth, in training.
            padded: see `Decoder`.
        """
        output = self.head(self.levels(features))
        losses: dict[str, Tensor] = {}
        if self.training and targets is not None:
            losses = self.criterion(output, self.assigner(output.ltrb, sizes, targets))
        if self.training and not self.proposes_in_training:
            return CenterNetOutput([], losses, None)
        proposals = self.decoder(output, padded=padded)
        return CenterNetOutput(proposals, losses, None if self.training else output)
