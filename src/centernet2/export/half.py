"""Half precision for the inner parts of a detector that is exported.

Boxes, scores, RoIAlign and the positions of deformable convolutions stay in float32: half precision
has 11 bits, so that it knows no parts of a pixel in an image of 2,048 pixels.
"""

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from centernet2.export.precision import inner_parts, sampling_layers
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import BoxStage, RoIPooler


def halve(detector: Detector) -> Detector:
    """Convert the inner parts of a detector to half precision, in place.

    It can be traced, but no longer trained or saved.
    """
    for part in inner_parts(detector):
        _run_in(part, torch.float16)
    for layer in sampling_layers(detector):
        _run_in(layer, torch.float32)
        layer.register_forward_hook(lambda _, inputs, output: output.half())
    heads = detector.roi_heads
    if heads is None:
        return detector
    for layer in heads.modules():
        if isinstance(layer, RoIPooler):
            _run_in(layer, torch.float32)
        if isinstance(layer, BoxStage):
            _run_in(layer.cls_score, torch.float32)
            _run_in(layer.bbox_pred, torch.float32)
    if heads.mask_branch is not None:
        _run_in(heads.mask_branch.head[-1], torch.float32)
    return detector


def _run_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert the weights of a module, and its inputs whenever it is called."""

    def convert(own: Tensor) -> Tensor:
        return own.to(dtype) if own.is_floating_point() else own

    module.to(dtype)
    module.register_forward_pre_hook(lambda _, inputs: tree_map_only(Tensor, convert, inputs))
