"""The second stage: a cascade of box stages and a mask branch."""

from centernet2.models.roi_heads.box_head import BoxHead, BoxHeadOptions
from centernet2.models.roi_heads.box_stage import (
    BoxStage,
    BoxStageOptions,
    FederatedOptions,
    StageOutput,
)
from centernet2.models.roi_heads.calibrated import (
    calibrated_factors,
    calibrated_objectness,
    calibrated_scores,
)
from centernet2.models.roi_heads.cascade import (
    CascadeRoIHeads,
    RoIHeadsOptions,
    RoIHeadsOutput,
    mean_probabilities,
)
from centernet2.models.roi_heads.mask_head import MaskBranch, MaskHead, MaskHeadOptions
from centernet2.models.roi_heads.pooler import PoolerOptions, RoIPooler
from centernet2.models.roi_heads.sampling import RoIs, RoISampler, SamplerOptions
from centernet2.models.roi_heads.selection import (
    CANDIDATES_PER_DETECTION,
    DetectionSelector,
    RankedBoxes,
    SelectionOptions,
)
from centernet2.models.roi_heads.unknown import SAME_OBJECT_IOU, unknown_objects

__all__ = [
    "CANDIDATES_PER_DETECTION",
    "SAME_OBJECT_IOU",
    "BoxHead",
    "BoxHeadOptions",
    "BoxStage",
    "BoxStageOptions",
    "CascadeRoIHeads",
    "DetectionSelector",
    "FederatedOptions",
    "MaskBranch",
    "MaskHead",
    "MaskHeadOptions",
    "PoolerOptions",
    "RankedBoxes",
    "RoIHeadsOptions",
    "RoIHeadsOutput",
    "RoIPooler",
    "RoISampler",
    "RoIs",
    "SamplerOptions",
    "SelectionOptions",
    "StageOutput",
    "calibrated_factors",
    "calibrated_objectness",
    "calibrated_scores",
    "mean_probabilities",
    "unknown_objects",
]
