"""Which parts make up the detector: names that builders/ turns into classes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelOptions:
    """Which parts make up the detector."""

    meta_architecture: str = "GeneralizedRCNN"
    backbone: str = "build_resnet_backbone"
    roi_heads: str = "Res5ROIHeads"
    mask_on: bool = False
    mask_head: str = "MaskRCNNConvUpsampleHead"
    weights: str = ""
    device: str = "cuda"


@dataclass(frozen=True)
class CascadeOptions:
    """Stages of a cascade."""

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    bbox_reg_weights: tuple[tuple[float, ...], ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )


@dataclass(frozen=True)
class OneStageOptions:
    """The only stage where there is no cascade."""

    ious: tuple[float, ...] = (0.5,)
    iou_labels: tuple[int, ...] = (0, 1)
    bbox_reg_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
