"""The second stage: a cascade of box stages and a mask branch."""

from centernet2.models.roi_heads.box_head import BoxHead as BoxHead
from centernet2.models.roi_heads.box_head import BoxHeadOptions as BoxHeadOptions
from centernet2.models.roi_heads.box_stage import BoxStage as BoxStage
from centernet2.models.roi_heads.box_stage import BoxStageOptions as BoxStageOptions
from centernet2.models.roi_heads.box_stage import FederatedOptions as FederatedOptions
from centernet2.models.roi_heads.box_stage import StageOutput as StageOutput
from centernet2.models.roi_heads.calibrated import calibrated_factors as calibrated_factors
from centernet2.models.roi_heads.calibrated import calibrated_objectness as calibrated_objectness
from centernet2.models.roi_heads.calibrated import calibrated_scores as calibrated_scores
from centernet2.models.roi_heads.cascade import CascadeRoIHeads as CascadeRoIHeads
from centernet2.models.roi_heads.cascade import RoIHeadsOptions as RoIHeadsOptions
from centernet2.models.roi_heads.cascade import RoIHeadsOutput as RoIHeadsOutput
from centernet2.models.roi_heads.cascade import mean_probabilities as mean_probabilities
from centernet2.models.roi_heads.mask_head import MaskBranch as MaskBranch
from centernet2.models.roi_heads.mask_head import MaskHead as MaskHead
from centernet2.models.roi_heads.mask_head import MaskHeadOptions as MaskHeadOptions
from centernet2.models.roi_heads.pooler import PoolerOptions as PoolerOptions
from centernet2.models.roi_heads.pooler import RoIPooler as RoIPooler
from centernet2.models.roi_heads.sampling import RoIs as RoIs
from centernet2.models.roi_heads.sampling import RoISampler as RoISampler
from centernet2.models.roi_heads.sampling import SamplerOptions as SamplerOptions
from centernet2.models.roi_heads.selection import (
    CANDIDATES_PER_DETECTION as CANDIDATES_PER_DETECTION,
)
from centernet2.models.roi_heads.selection import DetectionSelector as DetectionSelector
from centernet2.models.roi_heads.selection import RankedBoxes as RankedBoxes
from centernet2.models.roi_heads.selection import SelectionOptions as SelectionOptions
from centernet2.models.roi_heads.unknown import SAME_OBJECT_IOU as SAME_OBJECT_IOU
from centernet2.models.roi_heads.unknown import unknown_objects as unknown_objects
