"""Conversion between image tensors and Pillow, and enlargement of small images."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MIN_SIDE = 300  # pixels of a picture's longer side, so that there is room for labels


def to_pillow(image: Tensor) -> Image.Image:
    """Convert an image uint8 [3, H, W] to one of Pillow."""
    return Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())


def to_tensor(image: Image.Image) -> Tensor:  # uint8 [3, H, W]
    """Convert an RGB image of Pillow to a tensor."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def enlargement(height: int, width: int) -> int:
    """Return the whole factor by which a small image is enlarged to be drawn on."""
    return max(1, math.ceil(MIN_SIDE / max(height, width)))


def enlarge(pixels: Tensor, factor: int) -> Tensor:
    """Repeat each pixel of [N, H, W] `factor` times in both directions."""
    if factor == 1:
        return pixels
    return pixels.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
