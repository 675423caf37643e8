"""Pictures of detections."""

import colorsys
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from centernet2.structures import Detections

GOLDEN_ANGLE = 0.618034  # hues of consecutive classes lie far apart

Color = tuple[int, int, int]


class Found(Protocol):
    """An image file with what was found in it."""

    @property
    def path(self) -> Path: ...
    @property
    def image(self) -> Tensor: ...  # uint8 [3, H, W] RGB
    @property
    def detections(self) -> Detections: ...


def class_color(label: int) -> Color:
    """The same colour for the same class, always."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(image: Tensor, detections: Detections, class_names: Sequence[str] | None) -> Tensor:
    """The image [3, H, W] uint8 with boxes and labels; weak detections lie below strong ones."""
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    canvas = ImageDraw.Draw(picture)
    side = min(picture.size)
    font = ImageFont.load_default(size=min(max(9, side / 40), 28))
    width = max(1, round(side / 300))
    for box, score, label in reversed(list(_rows(detections))):
        color = class_color(label)
        canvas.rectangle(box, outline=color, width=width)
        name = class_names[label] if class_names else str(label)
        _draw_label(canvas, f"{name} {score:.2f}", (box[0], box[1]), color, font, picture.size)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def write_predictions(found: Iterable[Found], output: Path, *, class_names: Sequence[str] | None) -> int:
    """Writes an annotated PNG per image and predictions.json for all; returns the number of images."""
    output.mkdir(parents=True, exist_ok=True)
    records = []
    for prediction in found:
        picture = draw(prediction.image, prediction.detections, class_names)
        name = f"{len(records):05d}_{prediction.path.stem}.png"
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(output / name)
        detections = [
            {
                "box": [round(x, 2) for x in box],
                "score": round(score, 5),
                "label": label,
                "class": class_names[label] if class_names else str(label),
            }
            for box, score, label in _rows(prediction.detections)
        ]
        height, width = prediction.image.shape[1:]
        records.append(
            {
                "file": str(prediction.path),
                "picture": name,
                "width": width,
                "height": height,
                "detections": detections,
            }
        )
    (output / "predictions.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    return len(records)


def _rows(detections: Detections) -> list[tuple[tuple[float, float, float, float], float, int]]:
    boxes, scores, labels = (detections[key].tolist() for key in ("boxes", "scores", "labels"))  # type: ignore[literal-required]
    return [(tuple(box), score, label) for box, score, label in zip(boxes, scores, labels, strict=True)]


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    color: Color,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """A filled label above the box's corner, moved inside the picture, in black or white whichever is legible."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0.0, corner[0]), max(0.0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = min(y, max(0.0, size[1] - height))
    canvas.rectangle((x, y, x + width, y + height), fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    canvas.text((x + 2 - left, y + 2 - top), text, fill="black" if luminance > 128 else "white", font=font)
