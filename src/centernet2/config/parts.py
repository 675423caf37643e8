"""Names of the parts of the detector; builders/ maps them to classes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelOptions:
    """Parts of the detector."""

    meta_architecture: str = "GeneralizedRCNN"
    backbone: str = "build_resnet_backbone"
    roi_heads: str = "Res5ROIHeads"
    mask_on: bool = False
    mask_head: str = "MaskRCNNConvUpsampleHead"
    weights: str = ""
    device: str = "cuda"


@dataclass(frozen=True)
class CascadeOptions:
    """Box stages of a cascade."""

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    bbox_reg_weights: tuple[tuple[float, ...], ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )


@dataclass(frozen=True)
class OneStageOptions:
    """The box stage of a second stage without a cascade."""

    ious: tuple[float, ...] = (0.5,)
    iou_labels: tuple[int, ...] = (0, 1)
    bbox_reg_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
