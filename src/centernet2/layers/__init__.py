"""Layers that the parts of a detector share."""

from centernet2.layers.convolution import Conv2d as Conv2d
from centernet2.layers.convolution import ScaleGradient as ScaleGradient
from centernet2.layers.convolution import conv_norm as conv_norm
from centernet2.layers.convolution import init_he as init_he
from centernet2.layers.convolution import init_normal as init_normal
from centernet2.layers.convolution import init_xavier as init_xavier
from centernet2.layers.deformable import DeformConv2d as DeformConv2d
from centernet2.layers.fused_norm import fuse_frozen_norms as fuse_frozen_norms
from centernet2.layers.fused_norm import fuse_into_weights as fuse_into_weights
from centernet2.layers.norm_pairs import NormPair as NormPair
from centernet2.layers.norm_pairs import find_norm_pairs as find_norm_pairs
from centernet2.layers.norm_pairs import sequential_pairs as sequential_pairs
from centernet2.layers.normalization import convert_norm as convert_norm
from centernet2.layers.normalization import make_norm as make_norm
from centernet2.layers.same_padding import fix_same_padding as fix_same_padding
from centernet2.layers.winograd_conv import transform_convolutions as transform_convolutions
