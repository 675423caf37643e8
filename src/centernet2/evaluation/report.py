"""One self-contained HTML page about a training: figures, curves, pictures. It needs no network and no script."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image
from torch import Tensor

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --faint: #8a93a3; --ground: #fff; --panel: #f3f5f8; --line: #2f6fde }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --faint: #8a93a3; --ground: #14171c; --panel: #1e232b; --line: #6ea0ff }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
       max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.cards, .grid { display: flex; flex-wrap: wrap; gap: 1rem }
.card { background: var(--panel); border-radius: .5rem; padding: .7rem 1.2rem }
.card b { display: block; font-size: 1.5rem }
figure { margin: 0 } figcaption { color: var(--faint); font-size: .8rem }
svg { background: var(--panel); border-radius: .5rem } svg text { fill: var(--faint); font-size: 11px }
polyline { fill: none; stroke: var(--line); stroke-width: 1.8 } rect.bar { fill: var(--line) }
.grid img { width: 13rem; border-radius: .3rem } td { padding: .1rem .9rem .1rem 0 }
@media print { body { margin: 0 } figure { break-inside: avoid } }
"""


def write_report(
    path: Path,
    *,
    title: str,
    summary: Mapping[str, float],
    metrics_jsonl: Path,
    evaluation: Mapping[str, float],
    pictures: Sequence[tuple[str, Tensor]],
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        title: its heading.
        summary: the few figures to show first.
        metrics_jsonl: what the training has logged.
        evaluation: COCO figures in per cent, "bbox/AP/<class>" among them.
        pictures: captions and images, uint8 [3, H, W] RGB.
    """
    steps = [json.loads(line) for line in metrics_jsonl.read_text(encoding="utf-8").splitlines()]
    names = [name for name in steps[0] if "loss" in name] + ["lr", "images_per_second"] if steps else []
    curves = [curve_svg(name, [(s["iteration"], s[name]) for s in steps if s.get(name) is not None]) for name in names]
    classes = {n.removeprefix("bbox/AP/"): v for n, v in evaluation.items() if n.startswith("bbox/AP/")}
    others = {n: v for n, v in evaluation.items() if not n.startswith("bbox/AP/")}
    cards = "".join(f'<div class="card">{escape(n)}<b>{v:.1f}</b></div>' for n, v in summary.items())
    rows = "".join(f"<tr><td>{escape(n)}</td><td>{_figure(v)}</td></tr>" for n, v in others.items())
    gallery = "".join(
        f'<figure><img alt="{escape(n)}" src="{_data_uri(p)}"><figcaption>{escape(n)}</figcaption></figure>'
        for n, p in pictures
    )
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<h1>{escape(title)}</h1><div class="cards">{cards}</div>'
        f"<h2>Evaluation, per cent</h2><table>{rows}</table><h2>AP of each class</h2>{bars_svg(classes)}"
        f'<h2>Training</h2><div class="grid">{"".join(curves)}</div>'
        f'<h2>Predictions on unseen images</h2><div class="grid">{gallery}</div></html>\n',
        encoding="utf-8",
    )


def curve_svg(name: str, points: Sequence[tuple[float, float]], *, width: int = 280, height: int = 150) -> str:
    """A line through points (iteration, value)."""
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    span_x, span_y = max(xs) - min(xs) or 1, high - low or 1
    placed = " ".join(
        f"{10 + (width - 20) * (x - min(xs)) / span_x:.1f},{height - 20 - (height - 50) * (y - low) / span_y:.1f}"
        for x, y in points
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(name)}">'
        f'<text x="10" y="18">{escape(name)}: '
        f'{low:.3g} to {high:.3g}, last {ys[-1]:.3g}</text><polyline points="{placed}"/>'
        f'<text x="10" y="{height - 5}">{xs[0]:g}</text>'
        f'<text x="{width - 10}" y="{height - 5}" text-anchor="end">{xs[-1]:g}</text></svg>'
    )


def bars_svg(values: Mapping[str, float], *, width: int = 580, row: int = 20) -> str:
    """A bar per class; values are per cent."""
    bars = "".join(
        f'<text x="110" y="{i * row + 19}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="bar" x="118" y="{i * row + 8}" width="{(width - 180) * value / 100:.1f}" height="{row - 7}"/>'
        f'<text x="{124 + (width - 180) * value / 100:.1f}" y="{i * row + 19}">{value:.1f}</text>'
        for i, (name, value) in enumerate((n, 0.0 if math.isnan(v) else v) for n, v in values.items())
    )
    return (
        f'<svg width="{width}" height="{len(values) * row + 12}" role="img" aria-label="AP of each class">{bars}</svg>'
    )


def _figure(value: float) -> str:
    return "no such object" if math.isnan(value) else f"{value:.2f}"


def _data_uri(picture: Tensor) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
