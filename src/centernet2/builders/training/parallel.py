"""Prepare a detector for training by one or several processes."""

import warnings

import torch
from accelerate import Accelerator
from torch import nn

from centernet2 import distributed
from centernet2.builders.detector.network import build_backbone_and_neck, is_one_stage
from centernet2.config import Config, ConfigError, add_keys
from centernet2.layers import convert_norm
from centernet2.models.backbones.backbone import backbone_stages
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_training
from centernet2.training.sharding import shard


def may_have_unused_parameters(config: Config) -> bool:
    """Return whether parameters may get no gradient (DDP's find_unused_parameters)."""
    if config.model.backbone == "timm":  # some of its networks have such
        return True
    with torch.device("meta"):
        _, neck = build_backbone_and_neck(config)
    pooled = () if is_one_stage(config) else config.roi_heads.in_features
    return not {*config.centernet.in_features, *pooled} >= set(neck.strides)


def prepare_for_training(
    config: Config, model: Detector, accelerator: Accelerator, *, alone: bool = False
) -> nn.Module:
    """Move a detector to its device and wrap or shard it for training.

    The result shares its weights with the detector, which stays usable. From now on the weights
    stay in the same memory.

    Args:
        alone: the model is of this process alone; it is neither wrapped nor sharded.
    """
    options, device = config.run, accelerator.device
    if options.fsdp and options.channels_last:
        raise ConfigError(
            "SOLVER.FSDP shards contiguous weights only; leave SOLVER.CHANNELS_LAST out"
        )
    if options.sync_bn:  # before gradient checkpointing splits the towers
        convert_norm(model, "SyncBN")  # that of PyTorch drops activations of timm's layers
    synchronized = any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    if synchronized and device.type == "cpu" and distributed.world_size() > 1:
        raise ConfigError(
            "PyTorch synchronizes batch statistics on accelerators only: "
            "train without SyncBN on the CPU"
        )
    default_format = torch.contiguous_format if options.fsdp else None
    with add_keys("run"):
        optimize_for_training(
            model,
            device=device,
            memory_format=torch.channels_last if options.channels_last else default_format,
            keep_memory=options.keep_freed_memory,
            gradient_checkpointing=options.gradient_checkpointing,
            compile=options.compile,
        )
    if alone:
        return model.to(device)
    if options.fsdp and distributed.world_size() > 1:
        return _shard(model, device)
    return _wrap(model, accelerator)


def _shard(model: Detector, device: torch.device) -> Detector:
    heads = [] if model.roi_heads is None else list(model.roi_heads.stages)
    parts = [*backbone_stages(model.backbone), model.neck, model.proposal_generator.head, *heads]
    shard(model.to(device), parts, device)
    return model


def _wrap(model: Detector, accelerator: Accelerator) -> nn.Module:
    """Move the model to its device; wrap it in DDP if there are several processes."""
    with warnings.catch_warnings():  # a deprecated call in accelerate
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        prepared: nn.Module = accelerator.prepare(model)
    return prepared
