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
