"""Draw detections, and arrange pictures in a grid."""

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import max_pool2d

from centernet2.score_thresholds import (
    NO_THRESHOLD,
    Threshold,
    above_threshold,
    resolve_thresholds,
)
from centernet2.structures import Detections, Target

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

GOLDEN_RATIO = 0.618034  # step of the hue, which spreads any number of hues evenly
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
MASK_OPACITY = 0.45
MAX_COVERED = 0.25  # maximum fraction of the image under labels
MAX_HIDDEN = 0.25  # maximum fraction of a label that covers other labels


class Style(NamedTuple):
    """Line width, font size and padding for an image, in pixels."""

    line: int
    font: int
    padding: int


class Label(NamedTuple):
    """A text in a filled rectangle."""

    text: str
    rectangle: Rectangle
    color: Color


def draw(
    image: Tensor,
    objects: Detections | Target,
    class_names: Sequence[str] | None,
    *,
    score_threshold: Threshold = NO_THRESHOLD,
) -> Tensor:  # uint8 [3, H, W]
    """Draw masks, boxes and labels of objects on a copy of an image.

    The image is uint8 [3, H, W] RGB. Detections with the highest scores are on top. Those below the
    threshold, of all classes, by label or by class name, are left out.
    """
    threshold = resolve_thresholds(
        score_threshold, class_names, len(class_names) if class_names else None
    )
    scored = cast(Detections, objects)["scores"] if "scores" in objects else None
    scores = torch.ones(len(objects["boxes"])) if scored is None else scored.detach().cpu()
    all_labels = objects["labels"].cpu()
    kept = above_threshold(scores, all_labels, threshold).nonzero()[:, 0]
    order = kept[scores[kept].argsort(descending=True, stable=True)]  # [D]
    labels = all_labels[order].tolist()
    boxes = [_whole_pixels(box) for box in objects["boxes"].cpu()[order].tolist()]
    colors = [class_color(label) for label in labels]
    if "masks" in objects:
        image = _draw_masks(image.cpu(), objects["masks"].cpu()[order], colors)

    canvas = to_pillow(image)
    style = style_for(*canvas.size)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for box, color in zip(reversed(boxes), reversed(colors), strict=True):
        _draw_box(pen, box, color, style)
    texts = [class_name(label, class_names) for label in labels]
    if scored is not None:
        texts = [
            f"{text}: {score:.2f}"
            for text, score in zip(texts, scores[order].tolist(), strict=True)
        ]
    for label in reversed(_place_labels(texts, boxes, colors, canvas.size, style)):
        _draw_label(pen, label, style)
    return _to_tensor(canvas)


def class_color(label: int) -> Color:
    """Return the color of a class; neighboring labels have distinct colors."""
    hue = (0.58 + label * GOLDEN_RATIO) % 1
    saturation, value = ((0.75, 0.95), (0.9, 0.75), (0.5, 1.0))[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_color(background: Color) -> Color:
    """Return black or white, by contrast (WCAG 2.1, relative luminance)."""
    linear = [
        (c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK if luminance > 0.179 else LIGHT


def style_for(width: int, height: int) -> Style:
    """Return sizes of lines and letters, which grow sublinearly with the image."""
    side = math.sqrt(width * height)
    font = max(9, round(0.4 * side**0.55))
    return Style(line=max(1, round(side / 320)), font=font, padding=max(1, round(font / 5)))


def _draw_masks(image: Tensor, masks: Tensor, colors: Sequence[Color]) -> Tensor:
    """Draw translucent masks [D, H, W] with a solid outline, the first on top."""
    reach = 2 * style_for(image.shape[2], image.shape[1]).line + 1
    canvas = image.float()
    for mask, color in zip(masks.flip(0), reversed(colors), strict=True):
        rows, columns = _window(mask, margin=reach)
        part, pixels = mask[rows, columns], canvas[:, rows, columns]
        outside = (~part)[None].float()
        edge = (max_pool2d(outside, reach, stride=1, padding=reach // 2)[0] > 0) & part
        opacity = torch.where(edge, 1.0, MASK_OPACITY) * part
        paint = torch.tensor(color, dtype=canvas.dtype)[:, None, None]  # [3, 1, 1]
        canvas[:, rows, columns] = pixels + opacity * (paint - pixels)
    return canvas.round().to(torch.uint8)


def _window(mask: Tensor, *, margin: int) -> tuple[slice, slice]:
    """Return slices around the pixels of a mask [H, W]; an empty one: at the corner."""
    spans = []
    for axis in (1, 0):
        inside = mask.any(dim=axis).nonzero().flatten().tolist() or [0]
        spans.append(slice(max(0, inside[0] - margin), inside[-1] + margin + 1))
    return spans[0], spans[1]


def _draw_box(pen: ImageDraw.ImageDraw, box: Rectangle, color: Color, style: Style) -> None:
    """Draw a colored line with a faint dark border, visible on any background."""
    left, top, right, bottom = box
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(*DARK, 110))
    pen.rectangle(box, outline=color, width=style.line)


def _draw_label(pen: ImageDraw.ImageDraw, label: Label, style: Style) -> None:
    left, top, right, bottom = label.rectangle
    pen.rounded_rectangle(
        (left, top, right - 1, bottom - 1), radius=style.padding, fill=label.color
    )
    middle = (left + style.padding, (top + bottom) / 2)
    pen.text(middle, label.text, fill=text_color(label.color), font=_font(style.font), anchor="lm")


def _place_labels(
    texts: Sequence[str],
    boxes: Sequence[Rectangle],
    colors: Sequence[Color],
    size: tuple[int, int],
    style: Style,
) -> list[Label]:
    """Place each label at a corner of its box, inside the image, away from other labels.

    The labels of the best detections are placed first. A label is left out if it would hide another
    one, or if labels already hide much of the image. The color of the box still shows the class.
    """
    font = _font(style.font)
    height = style.font + 2 * style.padding
    placed: list[Label] = []
    taken = np.zeros((0, 4))  # [labels, 4]
    for text, box, color in zip(texts, boxes, colors, strict=True):
        width = math.ceil(font.getlength(text)) + 2 * style.padding
        room = MAX_COVERED * size[0] * size[1] - len(placed) * width * height
        if width > size[0] or height > size[1] or width * height > room:
            continue
        candidates = _corners(box, width, height, size)  # [7, 4]
        hidden = _hidden_pixels(candidates, taken)  # [7]
        if hidden.min() > MAX_HIDDEN * width * height:
            continue
        chosen = candidates[int(hidden.argmin())]  # the first of the best
        taken = np.concatenate([taken, chosen[None]])
        left, top, right, bottom = chosen.tolist()
        placed.append(Label(text, (int(left), int(top), int(right), int(bottom)), color))
    return placed


def _corners(
    box: Rectangle, width: int, height: int, size: tuple[int, int]
) -> np.ndarray:  # [7, 4]
    """Return rectangles for a label, by preference: above, inside, below its box."""
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
    x = np.clip([place[0] for place in places], 0, size[0] - width)
    y = np.clip([place[1] for place in places], 0, size[1] - height)
    return np.stack([x, y, x + width, y + height], axis=1).astype(np.float64)


def _hidden_pixels(candidates: np.ndarray, taken: np.ndarray) -> np.ndarray:  # [candidates]
    """Count the pixels of each rectangle that other labels cover."""
    low = np.maximum(candidates[:, None, :2], taken[None, :, :2])  # [candidates, labels, 2]
    high = np.minimum(candidates[:, None, 2:], taken[None, :, 2:])
    hidden: np.ndarray = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return hidden


def class_name(label: int, class_names: Sequence[str] | None) -> str:
    """Return the name of a class, or its label if there are no names."""
    if not class_names:
        return str(label)
    if not 0 <= label < len(class_names):
        raise ValueError(
            f"the label {label} has no name among {len(class_names)} class names; "
            "give the names of all classes"
        )
    return class_names[label]


def picture_grid(
    images: Sequence[Tensor], captions: Sequence[str], *, columns: int = 4, cell: int = 320
) -> Tensor:  # uint8 [3, H, W]
    """Arrange images (uint8 [3, H, W] each) in a grid, with a caption below each.

    The longer side of each is resized to `cell` pixels.
    """
    if not images or len(images) != len(captions):
        raise ValueError(
            f"a grid needs images with one caption each: {len(images)} and {len(captions)} given"
        )
    columns = min(columns, len(images))
    gap, font = max(6, cell // 32), _font(max(10, cell // 22))
    line = round(1.8 * font.size)
    pictures = [_fit(to_pillow(image), cell) for image in images]
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
            pen.text(
                middle, _shorten(next(remaining), font, cell), fill=DARK, font=font, anchor="mm"
            )
        top += height + line + gap
    return _to_tensor(grid)


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


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError(
            "labels need Pillow with FreeType; install its wheel: pip install -U pillow"
        )
    return font


def _whole_pixels(box: Sequence[float]) -> Rectangle:
    """Round a box to pixels as Pillow counts them: the last pixel is included."""
    left, top = math.floor(box[0] + 0.5), math.floor(box[1] + 0.5)
    right, bottom = math.floor(box[2] + 0.5) - 1, math.floor(box[3] + 0.5) - 1
    return left, top, max(left, right), max(top, bottom)


def to_pillow(image: Tensor) -> Image.Image:
    """Convert an image uint8 [3, H, W] to one of Pillow."""
    return Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())


def _to_tensor(image: Image.Image) -> Tensor:  # uint8 [3, H, W]
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
