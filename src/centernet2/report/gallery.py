"""Examples on a page: crops around a box that open the whole image.

Each image is embedded once.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from centernet2.report.page import jpeg_uri
from centernet2.structures import Pixels

EMBEDDED_SIDE = 800  # pixels, the longer side of an embedded image
CONTEXT_SCALE = 2.2  # side of the crop, in sides of the box
LEAST_CONTEXT = 0.2  # and at least this share of the image's shorter side

Boxes = Mapping[str, Sequence[Mapping[str, Any]]]


class Picture(NamedTuple):
    """An image with its boxes, in pixels of the file."""

    uri: str
    width: int
    height: int
    boxes: Boxes
    name: str
    link: str


class Gallery:
    """The images of a page."""

    def __init__(self) -> None:
        self.pictures: dict[int, Picture] = {}

    def add(self, image: int, pixels: Pixels, boxes: Boxes, *, name: str, link: str) -> None:
        """Embed an image with its boxes, and a link to its file."""
        uri = jpeg_uri(pixels, longest=EMBEDDED_SIDE)
        height, width = pixels.shape[:2]
        self.pictures[image] = Picture(uri, width, height, boxes, name, link)

    def tile(self, example: Mapping[str, Any]) -> str:
        """Make the crop around the box of an example."""
        picture, key = self.pictures[example["image"]], example["image"]
        x, y, side = square_around(example["box"], picture.height, picture.width)
        kind = "detection" if "score" in example else "missed"
        objects = _rectangles(picture.boxes["objects"], "object faded")
        title = (
            f"{example['class']} · {example['score']:.2f}"
            if "score" in example
            else str(example["class"])
        )
        view = f'viewBox="{x:.1f} {y:.1f} {side:.1f} {side:.1f}"'
        drawing = (
            f'<svg {view} role="img" aria-label="{escape(title)}">'
            f'<use href="#pixels{key}"/>{objects}{_rectangles([example], kind)}</svg>'
        )
        link = f'<a href="{escape(picture.link)}">{escape(picture.name)}</a>'
        return (
            f'<figure class="tile"><a class="picture" href="#image{key}">{drawing}</a>'
            f"<figcaption><b>{escape(title)}</b><br>{escape(example['reason'])}<br>{link}"
            "</figcaption></figure>"
        )

    def definitions(self) -> str:
        """The embedded images, and the whole view of each."""
        pixels = "".join(
            f'<image id="pixels{key}" href="{p.uri}" width="{p.width}" height="{p.height}"/>'
            for key, p in self.pictures.items()
        )
        views = "".join(self._view(key, picture) for key, picture in self.pictures.items())
        return (
            '<svg width="0" height="0" style="position:absolute" aria-hidden="true">'
            f"<defs>{pixels}</defs></svg>{views}"
        )

    def _view(self, key: int, picture: Picture) -> str:
        boxes = _rectangles(picture.boxes["objects"], "object") + _rectangles(
            picture.boxes["detections"], "detection"
        )
        return (
            f'<div class="view" id="image{key}"><a class="close" href="#!" aria-label="close"></a>'
            f'<svg viewBox="0 0 {picture.width} {picture.height}">'
            f'<use href="#pixels{key}"/>{boxes}</svg>'
            f"<p>{escape(picture.name)} &middot; "
            f'<a href="{escape(picture.link)}">open the file</a> &middot; '
            "click beside it to close</p></div>"
        )


def square_around(box: Sequence[float], height: int, width: int) -> tuple[float, float, float]:
    """Left, top and side of the square that shows a box with its surroundings."""
    around_box = CONTEXT_SCALE * max(box[2] - box[0], box[3] - box[1])
    side = min(max(around_box, LEAST_CONTEXT * min(width, height)), max(width, height))
    x, y = (
        min(
            max((box[i] + box[i + 2] - side) / 2, min(0, (length - side) / 2)),
            max(length - side, (length - side) / 2),
        )
        for i, length in ((0, width), (1, height))
    )
    return x, y, side


def _rectangles(boxes: Sequence[Mapping[str, Any]], kind: str) -> str:
    parts = []
    for each in boxes:
        x1, y1, x2, y2 = each["box"]
        text = f"{each['class']} {each['score']:.2f}" if "score" in each else each["class"]
        parts.append(
            f'<rect class="{kind}" x="{x1}" y="{y1}" '
            f'width="{x2 - x1:.1f}" height="{y2 - y1:.1f}">'
            f"<title>{escape(text)}</title></rect>"
        )
    return "".join(parts)
