"""Build a detector from a config: backbone, neck, both stages."""

from __future__ import annotations

from dataclasses import replace
from math import lcm
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from centernet2.builders.data.data_pipeline import fixed_sizes, test_size_of
from centernet2.builders.detector.second_stage import build_roi_heads
from centernet2.config import Config, ConfigError, add_keys, one_of
from centernet2.images.resize import FitShortestEdge
from centernet2.models.backbones import BACKBONES, Backbone
from centernet2.models.centernet import Assigner, CenterNet, CenterNetHead, Criterion, Decoder
from centernet2.models.detector import Detector
from centernet2.models.necks import NECKS, Neck
from centernet2.models.preprocess import Preprocess
from centernet2.models.tta import TestTimeAugmentation
from centernet2.structures import ModelInfo

MERGES: tuple[Literal["nms", "wbf"], ...] = ("nms", "wbf")
ARCHITECTURES = ("GeneralizedRCNN", "CenterNetDetector")


class Network(NamedTuple):
    """Names of a backbone and a neck in BACKBONES and NECKS."""

    backbone: str
    neck: str
    coarsest: int = 0  # level of an FPN: 7 adds p6 and p7 to those of the backbone


# by MODEL.BACKBONE.NAME; the names are those of the reference, except for timm
NETWORKS = {
    "build_p67_resnet_fpn_backbone": Network("resnet", "fpn", coarsest=7),
    "build_p35_resnet_fpn_backbone": Network("resnet", "fpn"),
    "build_resnet_bifpn_backbone": Network("resnet", "bifpn"),
    "build_fcos_resnet_bifpn_backbone": Network("resnet", "fcos_bifpn"),
    "build_p67_res2net_fpn_backbone": Network("res2net", "fpn", coarsest=7),
    "build_res2net_bifpn_backbone": Network("res2net", "bifpn"),
    "build_dla_backbone": Network("dla", "dla_seg"),
    "build_dlaup_backbone": Network("dla", "dla_up"),
    "build_dla_fpn3_backbone": Network("dla", "fpn"),
    "build_p37_dla_bifpn_backbone": Network("dla", "bifpn"),
    "build_p35_fcos_dla_bifpn_backbone": Network("dla", "fcos_bifpn"),
    "build_p37_fcos_dla_bifpn_backbone": Network("dla", "fcos_bifpn"),
    "timm": Network("timm", ""),  # the neck is MODEL.TIMM.NECK
}
TIMM_NECKS = ("fpn", "bifpn", "fcos_bifpn")


def is_one_stage(config: Config) -> bool:
    """Whether MODEL.META_ARCHITECTURE selects the first stage alone."""
    kind = one_of(config.model.meta_architecture, ARCHITECTURES, "MODEL.META_ARCHITECTURE")
    return kind == "CenterNetDetector"


def network_of(config: Config) -> Network:
    """Return the names of the backbone and the neck that MODEL.BACKBONE.NAME selects."""
    network = NETWORKS[one_of(config.model.backbone, tuple(NETWORKS), "MODEL.BACKBONE.NAME")]
    if network.backbone != "timm":
        return network
    wanted = (*config.centernet.in_features, *config.roi_heads.in_features)
    return Network(
        "timm",
        one_of(config.backbone.timm.neck, TIMM_NECKS, "MODEL.TIMM.NECK"),
        coarsest=max(int(level[-1]) for level in wanted),
    )


def build_backbone_and_neck(config: Config) -> tuple[Backbone, Neck]:
    """Build the backbone and the neck, with random weights."""
    network, options = network_of(config), config.neck
    with add_keys("backbone"):
        backbone = BACKBONES[network.backbone].build(config.backbone, options.fpn.in_features)
    if network.backbone == "timm":
        names = tuple(backbone.out_features)
        options = replace(options, fpn=replace(options.fpn, in_features=names))
    with add_keys("neck"):
        return backbone, NECKS[network.neck](options, backbone, network.coarsest)


def build_detector(config: Config, *, image_counts: Tensor | None = None) -> Detector:
    """Build a detector with random weights.

    Args:
        config: its config.
        image_counts: [C] training images with each class, for the federated loss.
    """
    one_stage = is_one_stage(config)
    if config.model.mask_on and one_stage:
        raise ConfigError(
            "masks come from the second stage, which CenterNetDetector does not have: "
            "set MODEL.MASK_ON False"
        )
    backbone, neck = build_backbone_and_neck(config)
    _require_levels(config, neck)
    divisor = lcm(backbone.size_divisibility, neck.size_divisibility)
    with add_keys("preprocess"):
        preprocess = Preprocess(config.preprocess, size_divisibility=divisor)
    detector = Detector(
        preprocess,
        backbone,
        neck,
        _build_first_stage(config, neck),
        None if one_stage else build_roi_heads(config, neck, image_counts),
    )
    detector.info = ModelInfo(
        test_size=test_size_of(config), config=config.to_yaml(), config_name=config.name
    )
    if config.augmentation.static_shapes:
        detector.use_static_shapes(fixed_sizes(config, divisor))
    return detector


def build_on_meta(config: Config) -> Detector:
    """Build a detector without memory (device meta), for its shapes and operations."""
    with torch.device("meta"):
        return build_detector(config).eval()


def _build_first_stage(config: Config, neck: Neck) -> CenterNet:
    levels, strides, head = config.centernet.in_features, config.centernet.strides, config.head
    with add_keys("head", "centernet", "assigner", "criterion", "decoder"):
        return CenterNet(
            CenterNetHead(neck.channels[levels[0]], len(levels), head),
            Assigner(
                strides,
                None if head.only_objectness else head.num_classes,
                config.assigner,
                box_loss=config.criterion.box_loss,
            ),
            Criterion(config.criterion),
            Decoder(strides, config.decoder),
            in_features=levels,
            class_proposals=config.centernet.class_proposals,
        )


def _require_levels(config: Config, neck: Neck) -> None:
    """Raise ConfigError if the neck lacks a level of a stage, or a stride differs."""
    levels, strides = config.centernet.in_features, config.centernet.strides
    pooled = () if is_one_stage(config) else config.roi_heads.in_features
    missing = [level for level in (*levels, *pooled) if level not in neck.strides]
    if missing:
        raise ConfigError(
            f"the config uses level {missing[0]}, but the neck has only "
            f"{', '.join(neck.strides)}; see MODEL.CENTERNET.IN_FEATURES, "
            "MODEL.ROI_HEADS.IN_FEATURES and MODEL.BACKBONE.NAME"
        )
    if strides != tuple(neck.strides[level] for level in levels):
        raise ConfigError(
            f"MODEL.CENTERNET.FPN_STRIDES is {strides}, but the strides of {', '.join(levels)} are "
            f"{tuple(neck.strides[level] for level in levels)}"
        )


def build_augmented(config: Config, model: Detector) -> TestTimeAugmentation:
    """Wrap a detector in test-time augmentation with the options TEST.AUG."""
    options, selection = config.test_augmentation, config.selection
    limits = config.decoder.inference
    one_stage = model.roi_heads is None
    return TestTimeAugmentation(
        model,
        resizes=[
            FitShortestEdge(length=length, max_size=options.max_size)
            for length in options.min_sizes
        ],
        flip=options.flip,
        merge=one_of(options.merge, MERGES, "TEST.AUG.MERGE"),
        nms_threshold=limits.nms_threshold if one_stage else selection.nms_threshold,
        limit=limits.post_nms_topk if one_stage else selection.detections_per_image,
    )
