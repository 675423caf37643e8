"""Faster inference, and training with less memory, with unchanged results.

    model = optimize_for_inference(model, dtype="bf16", compile=True)   # the last step before use
    model = optimize_for_training(model, gradient_checkpointing=True)   # before the optimizer

Call one of them, on a model that is on its device. `centernet2 predict`, `eval` and `benchmark`
call the first, `centernet2 train` the second: with them your own loop is as fast and needs as
little memory.
"""

import logging
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from centernet2.kernels import (
    convert_memory_format,
    device_name,
    fast_memory_format,
    is_bf16_fast,
    is_synchronous,
    keep_freed_memory,
    require_compiler,
    return_freed_memory,
)
from centernet2.layers import (
    NormPair,
    convert_norm,
    find_norm_pairs,
    fuse_into_weights,
    sequential_pairs,
    transform_convolutions,
)
from centernet2.models.detector import Detector
from centernet2.models.gradient_checkpointing import (
    recompute_expansions,
    recompute_norms,
    recompute_stages,
    stop_recomputation,
)
from centernet2.structures import Detections, Target

logger = logging.getLogger(__name__)

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
TRACED_SIDE = 128  # side of the image with which a backbone is traced


class InferenceDetector(Detector):
    """A detector after `optimize_for_inference`; it cannot be trained or saved."""

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        *,
        pasted: bool = True,
    ) -> list[Detections] | dict[str, Tensor]:
        """Return detections of images; ground truth is refused."""
        if targets is not None:
            _refuse("trained")
        return super().forward(images, pasted=pasted)

    def train(self, mode: bool = True) -> "InferenceDetector":
        """Stay in evaluation mode; training mode is refused."""
        return _refuse("trained") if mode else super().train(mode)

    def state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise RuntimeError: the weights are fused with normalization and rounded."""
        _refuse("saved")


def optimize_for_inference(
    model: Detector, *, dtype: str = "fp32", compile: bool = False
) -> Detector:
    """Make a detector faster, in place; it can no longer be trained or saved.

    Sets evaluation mode and the fastest memory format, and fuses normalization into convolutions.
    On the CPU the process keeps freed memory from now on, and float32 weights of large 3 x 3
    convolutions are stored transformed for Winograd's algorithm, four times as large.

    Args:
        model: on its device.
        dtype: "bf16" and "fp16" run convolutions and matrix products in lower precision, as in
            mixed precision.
        compile: torch.compile backbone, neck and the first stage's head. This needs a compiler for
            the device (on the CPU a C++ compiler), and half a minute for each new image size.

    Raises:
        ValueError: the model is no Detector, or the device cannot do what is asked for.
    """
    _require_detector(model)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is '{dtype}'; choose one of {', '.join(DTYPES)}")
    device = model.preprocess.mean.device
    if compile:
        require_compiler(device)
    if dtype == "bf16" and not is_bf16_fast(device):
        logger.warning(
            "%s only emulates bf16, which is slow: fp32 is faster here", device_name(device)
        )
    model.eval()
    stop_recomputation(model)
    model.inference_dtype = DTYPES[dtype]
    _convert_weights(model, fuse_norms(model), DTYPES[dtype])
    convert_memory_format(model, fast_memory_format(model, device))
    if dtype == "fp32":
        transform_convolutions(model)
    for part in (model.backbone, model.neck, model.proposal_generator.head) if compile else ():
        part.compile()
    model.__class__ = InferenceDetector
    keep_freed_memory(device)  # last, so that memory of replaced weights is returned
    return model


def optimize_for_training(
    model: Detector,
    *,
    device: torch.device | None = None,
    memory_format: torch.memory_format | None = None,
    keep_memory: bool = False,
    gradient_checkpointing: bool = False,
    compile: bool = False,
) -> Detector:
    """Reduce the memory of training, in place; weights and gradients stay the same.

    Sets the memory format, and recomputes cheap activations in the backward pass. On the CPU the
    process returns freed memory to the system from now on, or keeps it.

    Args:
        model: in training mode, before a wrapper such as DistributedDataParallel.
        device: of the training run; None: the model's current device.
        memory_format: of weights and feature maps; None: the fastest on the device.
        keep_memory: keep freed memory of CPU tensors: small models are faster, as the system has to
            clear all memory that it gives again, but the peak is higher.
        gradient_checkpointing: keep only the activations between the stages of the backbone, which
            takes about a third more time there.
        compile: torch.compile backbone and neck, instead of any recomputation.
    """
    _require_detector(model)
    if compile and gradient_checkpointing:
        raise ValueError(
            "compile and gradient_checkpointing exclude each other; leave one of them out"
        )
    device = model.preprocess.mean.device if device is None else device
    (keep_freed_memory if keep_memory else return_freed_memory)(device)
    convert_memory_format(model, memory_format or fast_memory_format(model, device))
    if compile:
        require_compiler(device)
        # one program for all image sizes, or one for each of a few fixed ones
        for part in (model.backbone, model.neck):
            part.compile(dynamic=not model.static_shapes)
        return model
    recompute_norms(model.proposal_generator.head.towers)
    if gradient_checkpointing:
        recompute_stages(model.backbone)
    elif is_synchronous(device):  # on an accelerator the per-operator policy costs time
        recompute_expansions(model.backbone)
    return model


def fuse_norms(model: Detector) -> list[nn.Conv2d]:
    """Fuse batch normalization into convolutions, in place, for inference.

    Returns:
        The convolutions with changed weights.
    """
    convert_norm(model, "FrozenBN")
    return fuse_into_weights(model, [*sequential_pairs(model), *_backbone_pairs(model)])


def _convert_weights(model: Detector, fused: list[nn.Conv2d], dtype: torch.dtype) -> None:
    """Convert nearly all weights, in place; autocast would convert them in each call."""
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    for layer in (*fused, *linears):
        layer.to(dtype)


def _backbone_pairs(model: Detector) -> list[NormPair]:
    """Find pairs of convolution and norm in the backbone, by tracing a small image."""
    divisor = model.preprocess.size_divisibility
    side = -(-TRACED_SIDE // divisor) * divisor
    return find_norm_pairs(model.backbone, model.preprocess.mean.new_zeros(1, 3, side, side))


def _require_detector(model: object) -> None:
    if not isinstance(model, Detector):
        raise ValueError(
            f"model is of type {type(model).__name__}; give a Detector, which "
            "centernet2.load_model(PATH) returns"
        )
    if isinstance(model, InferenceDetector):
        _refuse("optimized")


def _refuse(action: str) -> NoReturn:
    raise RuntimeError(
        f"a model that was optimized for inference can no longer be {action}: load it again"
    )
