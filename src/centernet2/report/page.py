"""Parts of a report page: sections, tables, charts, as plain HTML and SVG.

A page needs no network and no script; one style serves light and dark screens and paper.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from PIL import Image

from centernet2.outputs import mark_of
from centernet2.structures import Pixels

EMBEDDED_QUALITY = 82  # of JPEG images


class Section(NamedTuple):
    """A part of a page."""

    name: str  # of its anchor
    title: str
    text: str  # how to read it
    body: str  # HTML


def page(
    title: str, subtitle: str, sections: Sequence[Section], *, command: str, hidden: str = ""
) -> str:
    """Compose the page of a command; `hidden` is HTML that the sections refer to."""
    links = "".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in sections)
    parts = "".join(
        f'<section id="{each.name}"><h2>{escape(each.title)}</h2>'
        f"<p>{each.text}</p>{each.body}</section>"
        for each in sections
    )
    style = files("centernet2.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f"<!doctype html>\n<!-- {mark_of(command)} -->\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{subtitle}</p><nav>{links}</nav></header>"
        f"{hidden}{parts}</body></html>\n"
    )


def cards(values: Mapping[str, float | str | None]) -> str:
    """Format values in large print."""
    shown = "".join(
        f'<div class="card">{escape(n)}<b>{number(v)}</b></div>' for n, v in values.items()
    )
    return f'<div class="cards">{shown}</div>'


def number(value: float | str | None, digits: int = 1) -> str:
    """Format a number; a dash if there is none."""
    if isinstance(value, str):
        return escape(value)
    if value is None or not math.isfinite(value):
        return "&ndash;"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Format a table; its cells are HTML, the first column is text."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    head_and_body = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{head_and_body}</table></div>'


def bar_cell(share: float) -> str:
    """Format a table cell with a bar over this share of its width."""
    return f'<td class="bar"><i style="width:{100 * min(max(share, 0), 1):.1f}%"></i></td>'


def tile(title: str, note: str, body: str, text: str = "") -> str:
    """Frame a chart, with a heading, a note beside it and a line below."""
    below = f"<p>{text}</p>" if text else ""
    heading = f"<h4><b>{escape(title)}</b><span>{note}</span></h4>"
    return f'<figure class="tile">{heading}{body}{below}</figure>'


class Chart:
    """An SVG chart of lines, areas and dots over two axes.

    Args:
        label: text for screen readers.
        x, y: (lowest, highest) value.
        width, height: in units of the drawing, which is scaled to the available width.
        logarithmic: whether the horizontal axis is.
    """

    LEFT, RIGHT, TOP, BOTTOM = 26, 6, 8, 18

    def __init__(
        self,
        label: str,
        *,
        x: tuple[float, float] = (0, 1),
        y: tuple[float, float] = (0, 1),
        width: int = 240,
        height: int = 150,
        logarithmic: bool = False,
    ) -> None:
        self.label, self.x, self.y, self.width, self.height = label, x, y, width, height
        self.scale = math.log if logarithmic else float
        self.parts: list[str] = []

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Position of a value in the drawing."""
        low, high = (self.scale(each) for each in self.x)
        across = (self.scale(x) - low) / ((high - low) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        inner_width = self.width - self.LEFT - self.RIGHT
        inner_height = self.height - self.TOP - self.BOTTOM
        return self.LEFT + across * inner_width, self.TOP + (1 - up) * inner_height

    def axes(self, xs: Mapping[float, str], ys: Mapping[float, str]) -> None:
        """Draw ticks with their labels, and a rule for each of the vertical axis."""
        left, right = self.place(self.x[0], self.y[0])[0], self.place(self.x[1], self.y[0])[0]
        for value, text in ys.items():
            height = self.place(self.x[0], value)[1]
            self.parts.append(
                f'<line class="axis" x1="{left:.1f}" x2="{right:.1f}" '
                f'y1="{height:.1f}" y2="{height:.1f}"/>'
            )
            self.parts.append(
                f'<text x="{left - 4:.1f}" y="{height + 3.5:.1f}" '
                f'text-anchor="end">{escape(text)}</text>'
            )
        for value, text in xs.items():
            across = self.place(value, self.y[0])[0]
            self.parts.append(
                f'<text x="{across:.1f}" y="{self.height - 4}" '
                f'text-anchor="middle">{escape(text)}</text>'
            )

    def line(
        self, points: Sequence[tuple[float, float]], *, kind: str = "", area: bool = False
    ) -> None:
        """Draw a line through points, and the area below it if asked."""
        placed = [self.place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        if area and placed:
            floor = self.place(self.x[0], self.y[0])[1]
            ends = (f"{x:.1f},{floor:.1f}" for x in (placed[0][0], placed[-1][0]))
            self.parts.append(f'<polygon class="area" points="{next(ends)} {path} {next(ends)}"/>')
        self.parts.append(f'<polyline class="line {kind}" points="{path}"/>')

    def guide(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a dotted reference line."""
        (x1, y1), (x2, y2) = self.place(*start), self.place(*end)
        self.parts.append(
            f'<line class="guide" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def dot(self, point: tuple[float, float], text: str = "", *, kind: str = "") -> None:
        """Draw a dot with a tooltip."""
        x, y = self.place(*point)
        self.parts.append(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            f"<title>{escape(text)}</title></circle>"
        )

    def column(self, start: float, end: float, height: float, text: str, *, kind: str = "") -> None:
        """Draw a bar from `start` to `end` on the horizontal axis, with a tooltip."""
        (x1, y1), (x2, y2) = self.place(start, height), self.place(end, self.y[0])
        self.parts.append(
            f'<rect class="bar {kind}" x="{x1 + 1:.1f}" y="{y1:.1f}" '
            f'width="{max(0.5, x2 - x1 - 2):.1f}" height="{max(0, y2 - y1):.1f}" rx="1.5">'
            f"<title>{escape(text)}</title></rect>"
        )

    def svg(self) -> str:
        """The chart as HTML."""
        view = f'viewBox="0 0 {self.width} {self.height}"'
        label = f'role="img" aria-label="{escape(self.label)}"'
        return f"<svg {view} {label}>{''.join(self.parts)}</svg>"


UNIT_TICKS = {0.0: "0", 0.5: "0.5", 1.0: "1"}


def jpeg_uri(picture: Pixels, *, longest: int) -> str:
    """Encode an image of at most `longest` pixels as a data URI."""
    image = Image.fromarray(picture)
    image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=EMBEDDED_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
