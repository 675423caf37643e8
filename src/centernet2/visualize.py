"""Detections drawn on images, and contact sheets."""

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import max_pool2d

from centernet2.structures import Detections

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

GOLDEN_RATIO = 0.618034  # steps of it spread hues evenly, however many there are
DARK, LIGHT, GREY = (16, 16, 16), (255, 255, 255), (110, 110, 110)
MASK_OPACITY = 0.45


class Style(NamedTuple):
    """Sizes in pixels that suit an image."""

    line: int
    font: int
    padding: int


class Label(NamedTuple):
    """A text in its filled rectangle."""

    text: str
    rectangle: Rectangle
    color: Color


def draw(
    image: Tensor, detections: Detections, class_names: Sequence[str] | None, *, score_threshold: float = 0.0
) -> Tensor:  # uint8 [3, H, W]
    """A copy of an image (uint8 [3, H, W] RGB) with its detections: masks, boxes, then labels, the best on top."""
    kept = (detections["scores"] >= score_threshold).nonzero()[:, 0]
    order = kept[detections["scores"][kept].argsort(descending=True, stable=True)].cpu()  # [D]
    scores, labels = (detections[key].cpu()[order].tolist() for key in ("scores", "labels"))
    boxes = [_whole_pixels(box) for box in detections["boxes"].cpu()[order].tolist()]
    colors = [class_color(label) for label in labels]
    if "masks" in detections:
        image = _draw_masks(image.cpu(), detections["masks"].cpu()[order], colors)

    canvas = _to_pillow(image)
    style = style_for(*canvas.size)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for box, color in zip(reversed(boxes), reversed(colors), strict=True):
        _draw_box(pen, box, color, style)
    names = [str(label) if class_names is None else class_names[label] for label in labels]
    texts = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    for label in reversed(_place_labels(texts, boxes, colors, canvas.size, style)):
        _draw_label(pen, label, style)
    return _to_tensor(canvas)


def class_color(label: int) -> Color:
    """The colour of a class: the same in every image, far from that of its neighbours."""
    hue = (0.58 + label * GOLDEN_RATIO) % 1
    saturation, value = ((0.75, 0.95), (0.9, 0.75), (0.5, 1.0))[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_color(background: Color) -> Color:
    """Black or white, whichever has the higher contrast (WCAG 2.1, relative luminance)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK if luminance > 0.179 else LIGHT


def style_for(width: int, height: int) -> Style:
    """Lines and letters that grow with the image, but slower."""
    side = math.sqrt(width * height)
    font = max(9, round(1.1 * side**0.42))
    return Style(line=max(1, round(side / 400)), font=font, padding=max(1, round(font / 5)))


def _draw_masks(image: Tensor, masks: Tensor, colors: Sequence[Color]) -> Tensor:
    """Translucent masks [D, H, W] with a solid outline; the best on top."""
    width = float(style_for(image.shape[2], image.shape[1]).line)
    reach = 2 * int(width) + 1
    canvas = image.float()
    for mask, color in zip(masks.flip(0), reversed(colors), strict=True):
        paint = torch.tensor(color, dtype=canvas.dtype)[:, None, None]  # [3, 1, 1]
        outside = (~mask)[None].float()
        edge = (max_pool2d(outside, reach, stride=1, padding=reach // 2)[0] > 0) & mask  # [H, W]
        opacity = torch.where(edge, 1.0, MASK_OPACITY) * mask
        canvas = canvas + opacity * (paint - canvas)
    return canvas.round().to(torch.uint8)


def _draw_box(pen: ImageDraw.ImageDraw, box: Rectangle, color: Color, style: Style) -> None:
    """A coloured line between two faint dark ones, which keep it visible on its own colour."""
    left, top, right, bottom = box
    for grow in (1, -style.line):
        edge = (left - grow, top - grow, max(left - grow, right + grow), max(top - grow, bottom + grow))
        pen.rectangle(edge, outline=(*DARK, 90))
    pen.rectangle(box, outline=color, width=style.line)


def _draw_label(pen: ImageDraw.ImageDraw, label: Label, style: Style) -> None:
    left, top, right, bottom = label.rectangle
    pen.rounded_rectangle((left, top, right - 1, bottom - 1), radius=style.padding, fill=label.color)
    middle = (left + style.padding, (top + bottom) / 2)
    pen.text(middle, label.text, fill=text_color(label.color), font=_font(style.font), anchor="lm")


def _place_labels(
    texts: Sequence[str], boxes: Sequence[Rectangle], colors: Sequence[Color], size: tuple[int, int], style: Style
) -> list[Label]:
    """A place for each label at a corner of its box, inside the image and, where that is possible, clear of the others.

    The best detections choose first. A label that is wider than the image is left out: nobody could read it.
    """
    font = _font(style.font)
    height = style.font + 2 * style.padding
    placed: list[Label] = []
    taken = np.zeros((0, 4))  # [labels, 4]
    for text, box, color in zip(texts, boxes, colors, strict=True):
        width = math.ceil(font.getlength(text)) + 2 * style.padding
        if width > size[0] or height > size[1]:
            continue
        candidates = _corners(box, width, height, size)  # [7, 4]
        chosen = candidates[int(_overlaps(candidates, taken).argmin())]  # the first of the best
        taken = np.concatenate([taken, chosen[None]])
        left, top, right, bottom = chosen.tolist()
        placed.append(Label(text, (int(left), int(top), int(right), int(bottom)), color))
    return placed


def _corners(box: Rectangle, width: int, height: int, size: tuple[int, int]) -> np.ndarray:  # [7, 4]
    """Where a label may stand, the best place first: above, inside or below its box, moved into the image."""
    left, top, right, bottom = box
    places = [
        (left, top - height),
        (left, top),
        (left, bottom),
        (right - width, top - height),
        (right - width, top),
        (right - width, bottom - height),
        (left, bottom - height),
    ]
    # above the box only where there is room: moved down, the label would hide what is in the box for nothing
    x = np.clip([place[0] for place in places], 0, size[0] - width)
    y = np.clip([place[1] for place in places], 0, size[1] - height)
    return np.stack([x, y, x + width, y + height], axis=1).astype(np.float64)


def _overlaps(candidates: np.ndarray, taken: np.ndarray) -> np.ndarray:  # [candidates]
    """How many pixels of each rectangle are already taken."""
    low = np.maximum(candidates[:, None, :2], taken[None, :, :2])  # [candidates, labels, 2]
    high = np.minimum(candidates[:, None, 2:], taken[None, :, 2:])
    overlaps: np.ndarray = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return overlaps


def mosaic(
    images: Sequence[Tensor], captions: Sequence[str], *, columns: int = 4, cell: int = 320
) -> Tensor:  # uint8 [3, H, W]
    """A contact sheet: images (uint8 [3, H, W] each) fitted into squares of `cell` pixels, a caption below each."""
    if not images or len(images) != len(captions):
        raise ValueError(f"a contact sheet needs images with one caption each: {len(images)} and {len(captions)} given")
    columns = min(columns, len(images))
    gap, font = max(4, cell // 40), _font(max(10, cell // 22))
    step = (cell + gap, cell + gap + round(2.2 * font.size))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * step[0] + gap, rows * step[1] + gap), LIGHT)
    pen = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = gap + index % columns * step[0], gap + index // columns * step[1]
        picture = _to_pillow(image)
        factor = cell / max(picture.size)
        width, height = (max(1, round(side * factor)) for side in picture.size)
        # pixels of a tiny image stay squares, as one wants to see them
        picture = picture.resize((width, height), Image.Resampling.NEAREST if factor > 4 else Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (cell - width) // 2, top + (cell - height) // 2))
        middle = (left + cell / 2, top + cell + 1.1 * font.size)
        pen.text(middle, _shorten(caption, font, cell), fill=DARK, font=font, anchor="mm")
    return _to_tensor(sheet)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("labels need a Pillow with FreeType; install Pillow from its wheel: pip install -U pillow")
    return font


def _whole_pixels(box: Sequence[float]) -> Rectangle:
    """The pixels that a box covers, as Pillow counts: the last one belongs to it."""
    left, top = math.floor(box[0] + 0.5), math.floor(box[1] + 0.5)
    right, bottom = math.floor(box[2] + 0.5) - 1, math.floor(box[3] + 0.5) - 1
    return left, top, max(left, right), max(top, bottom)


def _to_pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())


def _to_tensor(image: Image.Image) -> Tensor:  # uint8 [3, H, W]
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
