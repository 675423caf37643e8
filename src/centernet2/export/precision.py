"""The number formats of exported files, and how far each may be from float32."""

from collections.abc import Iterator
from typing import NamedTuple, cast

from torch import nn

from centernet2.layers import DeformConv2d
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import BoxStage
from centernet2.runtime.agreement import ROUNDING, Tolerance


class Bar(NamedTuple):
    """The bar of a certificate: how many detections must agree, and within what."""

    tolerance: Tolerance
    share: float  # of the detections


PRECISIONS = {
    "fp32": Bar(ROUNDING, 0.99),
    "fp16": Bar(Tolerance(offset=0.5, score=5e-3), 0.99),
    "int8": Bar(Tolerance(offset=8.0, score=0.1), 0.8),
}


def inner_parts(detector: Detector) -> Iterator[nn.Module]:
    """Yield the parts of a detector that bear a lower precision.

    They do nearly all of the work. The layers after them predict boxes and scores.
    """
    yield detector.backbone
    yield detector.neck
    yield from detector.proposal_generator.head.towers
    heads = detector.roi_heads
    if heads is None:
        return
    yield from (cast(BoxStage, stage).box_head for stage in heads.stages)
    if heads.mask_branch is not None:
        yield from list(heads.mask_branch.head.children())[:-1]


def sampling_layers(detector: Detector) -> Iterator[nn.Module]:
    """Yield the layers of inner parts that stay in float32: deformable convolutions.

    The positions that they sample need parts of a pixel.
    """
    return (layer for layer in detector.modules() if isinstance(layer, DeformConv2d))
