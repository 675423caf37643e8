"""Charts of measurements as SVG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from centernet2.report.page import Chart

STYLE = """text { font: 10px sans-serif; fill: #777 } .axis { stroke: #8884 } .dot { fill: #3b6fd4 }
.line { fill: none; stroke: #3b6fd4; stroke-width: 1.7 }
.guide { stroke: #888; stroke-dasharray: 2 3 }"""

Points = Sequence[tuple[float, float]]


def draw_curves(
    path: Path,
    what: str,
    across: str,
    curves: Mapping[str, Points],
    *,
    ticks: Sequence[float],
    dots: bool = True,
    proportional: bool = False,
) -> None:
    """Draw curves as an SVG file, both axes from zero.

    Args:
        what, across: titles of the vertical and the horizontal axis.
        curves: points from left to right by name, which stands behind the last point.
        ticks: of the horizontal axis.
        dots: mark the points.
        proportional: draw a line from zero to the last point of each named curve.
    """
    xs, ys = zip(*(point for curve in curves.values() for point in curve), strict=True)
    right, top = max(xs), max(ys)
    chart = Chart(what, x=(0, right), y=(0, top), width=420, height=200)
    chart.LEFT, chart.RIGHT, chart.TOP, chart.BOTTOM = 36, 90, 24, 20
    chart.axes(
        {0: "0", **{x: f"{x:g}" for x in ticks}},
        {0: "0", top / 2: f"{top / 2:.2g}", top: f"{top:.2g}"},
    )
    for name, curve in curves.items():
        if name and proportional:
            chart.guide((0, 0), curve[-1])
        chart.line(curve)
        for point in curve if dots else ():
            chart.dot(point)
        end, height = chart.place(*curve[-1])
        chart.parts.append(f'<text x="{end + 8:.0f}" y="{height + 3:.0f}">{name}</text>')
    end, _ = chart.place(right, 0)
    chart.parts.append(
        f'<text x="4" y="12">{what}</text><text x="{end + 22:.0f}" y="196">{across}</text>'
    )
    path.write_text(
        chart.svg()
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
        .replace("</svg>", f"<style>{STYLE}</style></svg>")
    )
