"""Draw detections or ground truth on an image."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from PIL import ImageDraw
from torch import Tensor
from torch.nn.functional import max_pool2d

from centernet2.score_thresholds import (
    NO_THRESHOLD,
    Threshold,
    above_threshold,
    resolve_thresholds,
)
from centernet2.structures import Detections, Target
from centernet2.visualize.colors import DARK, Color, class_colors, numbered_color
from centernet2.visualize.fonts import Font, find_font
from centernet2.visualize.labels import Rectangle, Style, draw_label, place_labels, style_for
from centernet2.visualize.pixels import enlarge, enlargement, to_pillow, to_tensor

MASK_OPACITY = 0.45


def draw(
    image: Tensor,
    objects: Detections | Target,
    class_names: Sequence[str] | None,
    *,
    score_threshold: Threshold = NO_THRESHOLD,
) -> Tensor:  # uint8 [3, H, W]
    """Draw masks, boxes and labels of objects on a copy of an image.

    The image is uint8 [3, H, W] RGB. A small one is enlarged by a whole factor, to have room for
    legible labels. Detections with the highest scores are on top. Those below the threshold, of all
    classes, by label or by class name, are left out. Tracked objects have their number (`ids`).
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
    factor = enlargement(image.shape[1], image.shape[2])
    boxes = [_whole_pixels(box) for box in (objects["boxes"].cpu()[order] * factor).tolist()]
    colors = _colors(labels, class_names)
    image = enlarge(image.cpu(), factor)
    if "masks" in objects:
        image = _draw_masks(image, enlarge(objects["masks"].cpu()[order], factor), colors)

    canvas = to_pillow(image)
    style = style_for(*canvas.size)
    pen = ImageDraw.Draw(canvas, "RGBA")
    for box, color in zip(reversed(boxes), reversed(colors), strict=True):
        _draw_box(pen, box, color, style)
    face = find_font(class_names or ())
    texts = _texts(labels, None if scored is None else scores[order].tolist(), class_names, face)
    if "ids" in objects:
        texts = _with_ids(texts, cast(Detections, objects)["ids"][order].tolist())
    font = face.at(style.font)
    for label in reversed(place_labels(texts, boxes, colors, canvas.size, font, style.padding)):
        draw_label(pen, label, font, style.padding)
    return to_tensor(canvas)


def _colors(labels: Sequence[int], class_names: Sequence[str] | None) -> list[Color]:
    """Return the color of each object: by class name, or by label without names."""
    if not class_names:
        return [numbered_color(label) for label in labels]
    by_name = class_colors(class_names)
    return [by_name[class_name(label, class_names)] for label in labels]


def _texts(
    labels: Sequence[int],
    scores: Sequence[float] | None,
    class_names: Sequence[str] | None,
    font: Font,
) -> list[str]:
    """Return the text of each label; a class whose name the font lacks has its number."""
    names = [class_name(label, class_names) for label in labels]
    shown = [
        name if font.shows(name) else str(label) for name, label in zip(names, labels, strict=True)
    ]
    if scores is None:
        return shown
    return [f"{name}: {score:.2f}" for name, score in zip(shown, scores, strict=True)]


def _with_ids(texts: Sequence[str], ids: Sequence[int]) -> list[str]:
    """Put the numbers of tracked objects before their labels; negative ones are of none."""
    return [
        f"#{number} {text}" if number >= 0 else text
        for text, number in zip(texts, ids, strict=True)
    ]


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
