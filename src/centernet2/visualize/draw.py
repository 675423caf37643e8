"""Draw detections or ground truth on an image."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from centernet2.structures import BoolArray, Pixels
from centernet2.visualize.colors import DARK, Color, class_colors, numbered_color
from centernet2.visualize.fonts import Font, find_font
from centernet2.visualize.labels import Rectangle, draw_label, place_labels, style_for

COLUMNS = ("boxes", "labels", "scores", "ids")
MASK_OPACITY = 0.45
MIN_SIDE = 300  # pixels of a picture's longer side, so that there is room for labels


def draw(image: Pixels, objects: Mapping[str, Any], class_names: Sequence[str] | None) -> Pixels:
    """Draw masks, boxes and labels of objects on a copy of an image.

    A small image is enlarged by a whole factor, to have room for legible labels. Detections with
    the highest scores are on top. Tracked objects have their number.

    Args:
        objects: "boxes" [D, 4] and "labels" [D]; "scores" [D], "masks" [D, H, W] and "ids" [D] if
            there are any. Arrays, or tensors of the CPU; masks may be any sequence of [H, W].
    """
    columns = {name: np.asarray(objects[name]) for name in COLUMNS if name in objects}
    scores = columns.get("scores", np.ones(len(columns["boxes"])))
    order = np.argsort(-scores, kind="stable")  # [D]
    columns = {name: column[order] for name, column in columns.items()}
    labels = columns["labels"].tolist()
    factor = max(1, math.ceil(MIN_SIDE / max(image.shape[:2])))
    boxes = [_whole_pixels(box) for box in (columns["boxes"] * factor).tolist()]
    colors = label_colors(labels, class_names)
    image = _enlarge(image, factor)
    if "masks" in objects:
        masks = (_enlarge(np.asarray(objects["masks"][int(row)]), factor) for row in order[::-1])
        image = _draw_masks(image, masks, colors[::-1])

    canvas = Image.fromarray(image)
    style = style_for(*canvas.size)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for (left, top, right, bottom), color in zip(reversed(boxes), reversed(colors), strict=True):
        around = (left - 1, top - 1, right + 1, bottom + 1)
        pen.rectangle(around, outline=(*DARK, 110))  # so that it is visible on any background
        pen.rectangle((left, top, right, bottom), outline=color, width=style.line)
    face = find_font(class_names or ())
    texts = _texts(columns, class_names, face)
    font = face.at(style.font)
    for label in reversed(place_labels(texts, boxes, colors, canvas.size, font, style.padding)):
        draw_label(pen, label, font, style.padding)
    return np.array(canvas)


def _enlarge(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Repeat each pixel of [H, W, ...] `factor` times in both directions."""
    return pixels if factor == 1 else pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def label_colors(labels: Sequence[int], class_names: Sequence[str] | None) -> list[Color]:
    """Return the color of each label: by class name, or by number without names."""
    if not class_names:
        return [numbered_color(label) for label in labels]
    by_name = class_colors(class_names)
    return [by_name[class_name(label, class_names)] for label in labels]


def _texts(
    columns: Mapping[str, NDArray[Any]], class_names: Sequence[str] | None, font: Font
) -> list[str]:
    """Return the text of each label; a class whose name the font lacks has its number."""
    labels = columns["labels"].tolist()
    names = [" ".join(class_name(label, class_names).split()) for label in labels]  # in one line
    texts = [n if font.shows(n) else str(label) for n, label in zip(names, labels, strict=True)]
    if "scores" in columns:
        scores = columns["scores"].tolist()
        texts = [f"{text}: {score:.2f}" for text, score in zip(texts, scores, strict=True)]
    if "ids" in columns:  # of tracked objects; a negative one is of none
        ids = columns["ids"].tolist()
        texts = [f"#{n} {text}" if n >= 0 else text for n, text in zip(ids, texts, strict=True)]
    return texts


def _draw_masks(image: Pixels, masks: Iterable[BoolArray], colors: Sequence[Color]) -> Pixels:
    """Draw translucent masks [H, W] with a solid outline, the last on top."""
    reach = style_for(image.shape[1], image.shape[0]).line
    canvas = image.astype(np.float32)
    for mask, color in zip(masks, colors, strict=True):
        window = _window(mask, margin=reach)
        part, pixels = mask[window], canvas[window]
        edge = _grow(~part, reach) & part
        opacity = np.where(edge, np.float32(1), np.float32(MASK_OPACITY)) * part
        canvas[window] += opacity[..., None] * (np.array(color, np.float32) - pixels)
    drawn: Pixels = canvas.round().astype(np.uint8)
    return drawn


def _window(mask: BoolArray, *, margin: int) -> tuple[slice, slice]:
    """Return slices around the pixels of a mask [H, W]; an empty one: at the corner."""
    spans = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis=axis))
        first, last = (inside[0], inside[-1]) if len(inside) else (0, 0)
        spans.append(slice(max(0, first - margin), last + margin + 1))
    return spans[0], spans[1]


def _grow(mask: BoolArray, reach: int) -> BoolArray:
    """Set the pixels of a mask [H, W] that are within `reach` rows and columns of one."""
    for _ in range(2):  # along the rows, then along the columns
        grown = mask.copy()
        for step in range(1, reach + 1):
            grown[step:] |= mask[:-step]
            grown[:-step] |= mask[step:]
        mask = grown.T
    return mask


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


def _whole_pixels(box: Sequence[float]) -> Rectangle:
    """Round a box to pixels as Pillow counts them: the last pixel is included."""
    left, top = math.floor(box[0] + 0.5), math.floor(box[1] + 0.5)
    right, bottom = math.floor(box[2] + 0.5) - 1, math.floor(box[3] + 0.5) - 1
    return left, top, max(left, right), max(top, bottom)
