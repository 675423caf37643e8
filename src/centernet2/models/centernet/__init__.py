"""CenterNet, the first stage, which works alone on any feature pyramid."""

from centernet2.models.centernet.assigner import Assigner as Assigner
from centernet2.models.centernet.assigner import AssignerOptions as AssignerOptions
from centernet2.models.centernet.assigner import StageTargets as StageTargets
from centernet2.models.centernet.assigner import sizes_for as sizes_for
from centernet2.models.centernet.centernet import CenterNet as CenterNet
from centernet2.models.centernet.centernet import CenterNetOptions as CenterNetOptions
from centernet2.models.centernet.centernet import CenterNetOutput as CenterNetOutput
from centernet2.models.centernet.criterion import Criterion as Criterion
from centernet2.models.centernet.criterion import CriterionOptions as CriterionOptions
from centernet2.models.centernet.criterion import FocalOptions as FocalOptions
from centernet2.models.centernet.decoder import Decoder as Decoder
from centernet2.models.centernet.decoder import DecoderOptions as DecoderOptions
from centernet2.models.centernet.decoder import ProposalLimits as ProposalLimits
from centernet2.models.centernet.head import CenterNetHead as CenterNetHead
from centernet2.models.centernet.head import HeadOptions as HeadOptions
from centernet2.models.centernet.head import HeadOutput as HeadOutput
from centernet2.models.centernet.rpn import CenterNetRPN as CenterNetRPN
