"""CenterNet, the first stage, which works alone on any feature pyramid."""

from centernet2.models.centernet.assigner import Assigner, AssignerOptions, StageTargets, sizes_for
from centernet2.models.centernet.centernet import CenterNet, CenterNetOptions, CenterNetOutput
from centernet2.models.centernet.criterion import Criterion, CriterionOptions, FocalOptions
from centernet2.models.centernet.decoder import Decoder, DecoderOptions, ProposalLimits
from centernet2.models.centernet.head import CenterNetHead, HeadOptions, HeadOutput
from centernet2.models.centernet.rpn import CenterNetRPN

__all__ = [
    "Assigner",
    "AssignerOptions",
    "CenterNet",
    "CenterNetHead",
    "CenterNetOptions",
    "CenterNetOutput",
    "CenterNetRPN",
    "Criterion",
    "CriterionOptions",
    "Decoder",
    "DecoderOptions",
    "FocalOptions",
    "HeadOptions",
    "HeadOutput",
    "ProposalLimits",
    "StageTargets",
    "sizes_for",
]
