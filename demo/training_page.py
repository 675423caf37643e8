"""The page of a training run: metrics, curves, pictures; without scripts."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from centernet2.files import write_atomic
from centernet2.report.page import (
    Chart,
    Section,
    bar_cell,
    cards,
    jpeg_uri,
    number,
    page,
    table,
    tile,
)
from centernet2.structures import Pixels

PICTURE_SIDE = 480  # pixels, the longer side of a picture


def write_training_page(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, float],
    metrics_jsonl: Path,
    evaluation: Mapping[str, float | None],
    pictures: Sequence[tuple[str, Pixels]],
) -> None:
    """Write the page.

    Args:
        path: of the page.
        title: its heading.
        summary: the values to show first.
        metrics_jsonl: log of the training run.
        evaluation: COCO metrics in percent, "bbox/AP/<class>" among them; NaN or None without
            objects.
        pictures: captions and images.
    """
    steps = [json.loads(line) for line in metrics_jsonl.read_text(encoding="utf-8").splitlines()]
    names = (
        [name for name in steps[0] if "loss" in name] + ["lr", "images_per_second"] if steps else []
    )
    curves = "".join(
        curve_tile(name, [(s["iteration"], s[name]) for s in steps if s.get(name) is not None])
        for name in names
    )
    classes = {
        n.removeprefix("bbox/AP/"): v for n, v in evaluation.items() if n.startswith("bbox/AP/")
    }
    others = {n.removeprefix("bbox/"): v for n, v in evaluation.items() if "/AP/" not in n}
    gallery = "".join(_picture(caption, image) for caption, image in pictures)
    ranked = sorted(classes.items(), key=lambda each: _known(each[1]))
    rows = [[escape(n), number(v), bar_cell(_known(v) / 100)] for n, v in ranked]
    sections = [
        Section("summary", "Summary", "After the last step.", cards(summary)),
        Section(
            "evaluation", "Evaluation", "Average precision and recall in percent.", cards(others)
        ),
        Section(
            "classes",
            "Classes",
            "AP of each class, the weakest first.",
            table(["class", "AP", ""], rows),
        ),
        Section(
            "training",
            "Training",
            "What was logged, by iteration.",
            f'<div class="grid" style="--least: 18rem">{curves}</div>',
        ),
        Section(
            "pictures",
            "Predictions",
            "On images that were not seen in training.",
            f'<div class="grid">{gallery}</div>',
        ),
    ]
    write_atomic(path, page(title, "Training report", sections, command="demo"))


def curve_tile(name: str, points: Sequence[tuple[float, float]]) -> str:
    """A line through points (iteration, value)."""
    finite = [point for point in points if math.isfinite(point[1])]
    if not finite:
        return ""
    xs, ys = zip(*finite, strict=True)
    low, high = min(ys), max(ys)
    chart = Chart(name, x=(min(xs), max(xs)), y=(low, high if high > low else low + 1))
    chart.LEFT = 40
    chart.axes({xs[0]: f"{xs[0]:g}", xs[-1]: f"{xs[-1]:g}"}, {low: _tick(low), high: _tick(high)})
    chart.line(finite)
    return tile(name, _tick(ys[-1]), chart.svg())


def _tick(value: float) -> str:
    """Format a value so that it fits beside its axis."""
    return f"{value:.3g}".replace("e-0", "e-")


def _picture(caption: str, image: Pixels) -> str:
    text, source = escape(caption), jpeg_uri(image, longest=PICTURE_SIDE)
    picture = f'<span class="picture"><img alt="{text}" src="{source}"></span>'
    return f'<figure class="tile">{picture}<figcaption>{text}</figcaption></figure>'


def _known(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else value
