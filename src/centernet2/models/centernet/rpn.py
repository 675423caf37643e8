"""CenterNet in place of the region proposal network of torchvision's detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from centernet2.models.centernet.assigner import Assigner, AssignerOptions, sizes_for
from centernet2.models.centernet.centernet import CenterNet
from centernet2.models.centernet.criterion import Criterion, CriterionOptions, FocalOptions
from centernet2.models.centernet.decoder import Decoder, DecoderOptions, ProposalLimits
from centernet2.models.centernet.head import CenterNetHead, HeadOptions
from centernet2.structures import Target

if TYPE_CHECKING:
    from torchvision.models.detection.image_list import ImageList

# as published for the first stage of CenterNet2 (configs/Base-CenterNet2.yaml)
FIRST_STAGE_HEAD = HeadOptions(objectness=True, only_objectness=True)
FIRST_STAGE_LOSSES = CriterionOptions(
    FocalOptions(ignore_high_fp=0.85), positive_weight=0.5, negative_weight=0.5, box_weight=1.0
)
FIRST_STAGE_PROPOSALS = DecoderOptions(
    score_threshold=0.0001,
    training=ProposalLimits(pre_nms_topk=4000, post_nms_topk=2000, nms_threshold=0.9),
    inference=ProposalLimits(pre_nms_topk=1000, post_nms_topk=256, nms_threshold=0.9),
)


class CenterNetRPN(nn.Module):
    """A class-agnostic CenterNet with the interface of RegionProposalNetwork.

        model = torchvision.models.detection.fasterrcnn_resnet50_fpn()
        model.rpn = CenterNetRPN(model.backbone.out_channels)

    Args:
        in_channels: channels of every level.
        strides: of the levels, finest first; default: those of torchvision's FPN.
        head: options of the head; it predicts objectness alone.
        assigner: options of the targets; default: sizes of interest from the strides.
        criterion: options of the losses; default: as published for CenterNet2.
        decoder: options of the proposals; default: as published for CenterNet2.
    """

    def __init__(
        self,
        in_channels: int,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        *,
        head: HeadOptions = FIRST_STAGE_HEAD,
        assigner: AssignerOptions | None = None,
        criterion: CriterionOptions = FIRST_STAGE_LOSSES,
        decoder: DecoderOptions = FIRST_STAGE_PROPOSALS,
    ) -> None:
        super().__init__()
        head = replace(head, objectness=True, only_objectness=True)
        self.centernet = CenterNet(
            CenterNetHead(in_channels, len(strides), head),
            Assigner(
                strides, options=assigner or AssignerOptions(sizes_of_interest=sizes_for(strides))
            ),
            Criterion(criterion),
            Decoder(strides, decoder),
        )

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return boxes [R, 4] of every image and, in training, the losses by name."""
        output = self.centernet(features, images.image_sizes, targets)
        return [each.boxes for each in output.proposals], output.losses
