"""An image as a camera makes them."""

import numpy as np
from PIL import Image


def photo(height: int, width: int) -> Image.Image:
    """Smooth shapes, edges and noise, as a photograph has them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 3 : width // 2] = 240
    return Image.fromarray(
        (pixels + rng.integers(-10, 11, pixels.shape)).clip(0, 255).astype(np.uint8)
    )
