"""Build the second stage from a config: box stages, sampler, mask branch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.config import Config, ConfigError, add_keys, one_of
from centernet2.models.necks import Neck
from centernet2.models.roi_heads import (
    BoxHead,
    BoxStage,
    CascadeRoIHeads,
    DetectionSelector,
    MaskBranch,
    MaskHead,
    RoIPooler,
    RoISampler,
)


def build_roi_heads(config: Config, neck: Neck, image_counts: Tensor | None) -> CascadeRoIHeads:
    """Build the second stage that MODEL.ROI_HEADS.NAME selects, with random weights.

    Args:
        config: config of the detector.
        neck: provides the levels from which RoI features are pooled.
        image_counts: see `build_detector`.
    """
    if not (config.head.only_objectness or config.centernet.class_proposals):
        raise ConfigError(
            "the second stage needs proposals from the first: set "
            "MODEL.CENTERNET.ONLY_PROPOSAL True (objectness only) or "
            "MODEL.CENTERNET.AS_PROPOSAL True (class scores)"
        )
    in_features = config.roi_heads.in_features
    channels, strides = neck.channels[in_features[0]], [neck.strides[name] for name in in_features]
    stages = {"CustomCascadeROIHeads": _cascade_stages, "CustomROIHeads": _one_stage}
    kind = one_of(config.model.roi_heads, tuple(stages), "MODEL.ROI_HEADS.NAME")
    class_weight = _class_weight(config, image_counts) if config.federated.enabled else None
    with add_keys("box_pooler", "box_head", "box_stage"):
        pooler = RoIPooler(strides, config.box_pooler)
        box_stages = [
            BoxStage(
                BoxHead(channels, pooler.resolution, config.box_head),
                config.roi_heads.num_classes,
                min_iou=iou,
                bbox_reg_weights=weights,
                options=config.box_stage,
                class_weight=class_weight,
                num_federated=config.federated.num_classes,
            )
            for iou, weights in stages[kind](config)
        ]
    return CascadeRoIHeads(
        pooler,
        box_stages,
        RoISampler(config.sampler),
        DetectionSelector(config.selection),
        _build_mask_branch(config, channels, strides) if config.model.mask_on else None,
        in_features=in_features,
    )


def _cascade_stages(config: Config) -> list[tuple[float, tuple[float, ...]]]:
    """Return the minimum IoU of positives and the weights of the deltas, per stage."""
    ious, weights = config.cascade.ious, config.cascade.bbox_reg_weights
    if len(ious) != len(weights):
        raise ConfigError(
            f"MODEL.ROI_BOX_CASCADE_HEAD has {len(ious)} IOUS and {len(weights)} BBOX_REG_WEIGHTS; "
            "give one of each per stage"
        )
    if ious[0] != config.one_stage.ious[0]:
        raise ConfigError(
            f"the first of MODEL.ROI_BOX_CASCADE_HEAD.IOUS is {ious[0]} and "
            f"MODEL.ROI_HEADS.IOU_THRESHOLDS is {config.one_stage.ious[0]}; they describe "
            "one stage and must agree"
        )
    if len(ious) > 1 and not config.box_stage.class_agnostic:
        raise ConfigError(
            "a cascade needs class-agnostic boxes: "
            "set MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True"
        )
    return list(zip(ious, weights, strict=True))


def _one_stage(config: Config) -> list[tuple[float, tuple[float, ...]]]:
    if len(config.one_stage.ious) != 1 or config.one_stage.iou_labels != (0, 1):
        raise ConfigError(
            "MODEL.ROI_HEADS.IOU_THRESHOLDS takes one threshold, and IOU_LABELS is [0, 1]"
        )
    return [(config.one_stage.ious[0], config.one_stage.bbox_reg_weights)]


def _build_mask_branch(config: Config, channels: int, strides: Sequence[int]) -> MaskBranch:
    one_of(config.model.mask_head, ("MaskRCNNConvUpsampleHead",), "MODEL.ROI_MASK_HEAD.NAME")
    with add_keys("mask_pooler", "mask_head"):
        head = MaskHead(channels, config.roi_heads.num_classes, config.mask_head)
        return MaskBranch(RoIPooler(strides, config.mask_pooler), head)


def _class_weight(config: Config, image_counts: Tensor | None) -> Tensor:
    """Return weights [C] by which the federated loss samples negative classes.

    They depend on the number of images with each class. Without these numbers, for example when
    trained weights are loaded afterwards, all weights are 1.
    """
    if image_counts is None:
        return torch.ones(config.roi_heads.num_classes)
    return image_counts.float() ** config.federated.frequency_exponent
