"""Pictures in a grid, with captions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from centernet2.structures import Pixels
from centernet2.visualize.colors import DARK, LIGHT
from centernet2.visualize.fonts import find_font


def picture_grid(
    images: Sequence[Pixels], captions: Sequence[str], *, columns: int = 4, cell: int = 320
) -> Pixels:
    """Arrange images in a grid, with a caption below each.

    The longer side of each is resized to `cell` pixels.
    """
    if not images or len(images) != len(captions):
        raise ValueError(
            f"a grid needs images with one caption each: {len(images)} and {len(captions)} given"
        )
    columns = min(columns, len(images))
    gap = max(6, cell // 32)
    font = find_font(captions).at(max(10, cell // 22))
    line = round(1.8 * font.size)
    pictures = [_fit(Image.fromarray(image), cell) for image in images]
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]

    size = (columns * (cell + gap) + gap, sum(heights) + len(rows) * (line + gap) + gap)
    grid = Image.new("RGB", size, LIGHT)
    pen = ImageDraw.Draw(grid)
    remaining = iter(captions)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for index, picture in enumerate(row):
            left = gap + index * (cell + gap)
            grid.paste(
                picture, (left + (cell - picture.width) // 2, top + (height - picture.height) // 2)
            )
            middle = (left + cell / 2, top + height + line / 2)
            caption = _shorten(" ".join(next(remaining).split()), font, cell)  # in one line
            pen.text(middle, caption, fill=DARK, font=font, anchor="mm")
        top += height + line + gap
    return np.array(grid)


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    factor = cell / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    # nearest neighbor keeps the pixels of a tiny image visible as squares
    return picture.resize(
        (width, height), Image.Resampling.NEAREST if factor > 4 else Image.Resampling.LANCZOS
    )


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
