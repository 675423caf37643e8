"""From settings to how weights change: optimizer, learning rate, clipping."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from centernet2.config import Config, ConfigError, one_of
from centernet2.data.dataset import DetectionDataset
from centernet2.data.mixing import CopyPaste, Mixer, Mixing, MixUp, Mosaic
from centernet2.data.samplers import (
    MixtureSampler,
    RepeatFactorSampler,
    Sampler,
    ShuffledSampler,
    WeightedSampler,
    class_aware_weights,
    repeat_factors,
)
from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    EvalTransform,
    FitShortestEdge,
    FitSquare,
    LargeScaleJitter,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
    Transform,
)
from centernet2.layers.roi_pool import RoIPooler
from centernet2.models.backbones.deform import deform_stages
from centernet2.models.backbones.res2net import Res2Net
from centernet2.models.backbones.resnet import ResNet
from centernet2.models.backbones.timm_backbone import TimmBackbone, any_size_options, features_at
from centernet2.models.centernet.centernet import CenterNet
from centernet2.models.centernet.head import CenterNetHead
from centernet2.models.detector import Detector, Preprocess
from centernet2.models.necks.bifpn import BiFPN
from centernet2.models.necks.dla_up import DLAUp
from centernet2.models.necks.fpn import FPN
from centernet2.models.roi_heads.box_head import BoxHead, BoxStage
from centernet2.models.roi_heads.cascade import CascadeRoIHeads
from centernet2.models.roi_heads.mask_head import MaskHead
from centernet2.training.optim import (
    Multiplier,
    adamw,
    backbone_lr_factors,
    clip_gradients,
    learning_rate_multiplier,
    parameter_groups,
    sgd,
)
from centernet2.tta import TestTimeAugmentation



CLIPS: tuple[Literal["value", "norm", "full_model"], ...] = ("value", "norm", "full_model")
OPTIMIZERS: tuple[Literal["SGD", "ADAMW"], ...] = ("SGD", "ADAMW")


def build_multiplier(config: Config) -> Multiplier:
    """The learning rate's factor by iteration."""
    return learning_rate_multiplier(base_lr=config.optimizer.base_lr, **vars(config.schedule))


def build_optimizer(config: Config, model: Detector) -> torch.optim.Optimizer:
    """SGD or AdamW over the model's parameters, with the weight decay and learning rate of each kind."""
    o = config.optimizer
    groups = parameter_groups(
        model,
        base_lr=o.base_lr,
        weight_decay=o.weight_decay,
        weight_decay_norm=o.weight_decay if o.weight_decay_norm is None else o.weight_decay_norm,
        bias_lr_factor=o.bias_lr_factor,
        weight_decay_bias=o.weight_decay_bias,
        lr_factors=backbone_lr_factors(model.backbone, multiplier=o.backbone_multiplier, layer_decay=o.layer_decay),
    )
    if one_of(o.optimizer, OPTIMIZERS, "SOLVER.OPTIMIZER") == "ADAMW":
        if len(o.betas) != 2:
            raise ConfigError(f"SOLVER.BETAS is {o.betas}; give two numbers below 1")
        return adamw(groups, lr=o.base_lr, betas=(o.betas[0], o.betas[1]))
    return sgd(groups, lr=o.base_lr, momentum=o.momentum, nesterov=o.nesterov)


def build_clip(config: Config) -> Callable[[list[nn.Parameter]], None] | None:
    """Clips gradients as configured; None where they are left alone."""
    options = config.clip
    if not options.enabled:
        return None
    kind = one_of(options.clip_type, CLIPS, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE")
    return partial(clip_gradients, clip_type=kind, clip_value=options.clip_value, norm_type=options.norm_type)


