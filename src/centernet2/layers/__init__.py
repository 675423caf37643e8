"""Layers that the parts of a detector share."""

from centernet2.layers.convolution import (
    Conv2d,
    ScaleGradient,
    conv_norm,
    init_he,
    init_normal,
    init_xavier,
)
from centernet2.layers.deformable import DeformConv2d
from centernet2.layers.fused_norm import fuse_frozen_norms, fuse_into_weights
from centernet2.layers.norm_pairs import NormPair, find_norm_pairs, sequential_pairs
from centernet2.layers.normalization import convert_norm, make_norm
from centernet2.layers.same_padding import fix_same_padding
from centernet2.layers.winograd_conv import transform_convolutions

__all__ = [
    "Conv2d",
    "DeformConv2d",
    "NormPair",
    "ScaleGradient",
    "conv_norm",
    "convert_norm",
    "find_norm_pairs",
    "fix_same_padding",
    "fuse_frozen_norms",
    "fuse_into_weights",
    "init_he",
    "init_normal",
    "init_xavier",
    "make_norm",
    "sequential_pairs",
    "transform_convolutions",
]
