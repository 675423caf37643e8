"""The page about an evaluation: what is wrong, how much it costs, and where to look. The same as JSON and Markdown."""

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from centernet2.evaluation.examples import boxes_of_image
from centernet2.evaluation.ground_truth import FloatArray, GroundTruth
from centernet2.files import write_atomic, write_json
from centernet2.report.gallery import Gallery
from centernet2.report.page import (
    UNIT_TICKS,
    Chart,
    Section,
    bar_cell,
    cards,
    number,
    page,
    table,
    tile,
)

SHOWN_CLASSES = 100
SHOWN_MATRIX = 30
SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR100", "AR300")
EXAMPLES = {
    "false": ("False detections", "The surest detections that are wrong."),
    "missed": ("Missed objects", "The largest objects that no detection of their class has found."),
    "confused": (
        "Confused classes",
        "The surest detections that lie on an object of another class.",
    ),
}

ReadImage = Callable[
    [int], tuple[Path, Tensor]
]  # image id -> its file and pixels, uint8 [3, H, W] RGB


def write_evaluation_page(
    folder: Path,
    *,
    title: str,
    analysis: Mapping[str, Any],
    truth: GroundTruth,
    results: FloatArray,
    read_image: ReadImage,
) -> Path:
    """Writes report.html, report.json and report.md, and gives the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", {"title": title, **analysis}, indent=1)
    write_atomic(folder / "report.md", evaluation_markdown(title, analysis))
    gallery = Gallery()
    threshold = analysis["best"]["threshold"] if analysis["best"] else 0.0
    for image_id in {each["image_id"] for kind in EXAMPLES for each in analysis["examples"][kind]}:
        path, pixels = read_image(image_id)
        boxes = boxes_of_image(truth, results, threshold, image_id)
        gallery.add(image_id, pixels, boxes, name=path.name, link=os.path.relpath(path, folder))
    subtitle = (
        f"{analysis['images']:,} images, {analysis['objects']:,} objects, {analysis['detections']:,} detections. "
        "Figures are per cent; curves, errors and examples are judged at an overlap of 0.5."
    )
    sections = [_summary(analysis), _errors(analysis), _stages(analysis), _calibration(analysis)]
    sections += [_classes(analysis), _confusion(analysis), *_examples(analysis, gallery)]
    content = page(
        title, subtitle, [each for each in sections if each], hidden=gallery.definitions()
    )
    write_atomic(folder / "report.html", content)
    return folder / "report.html"


def _summary(analysis: Mapping[str, Any]) -> Section:
    metrics = analysis["metrics"]
    kinds = {"bbox": "", "segm": " of masks", "voc": " of Pascal VOC"}
    figures = {
        f"{name}{suffix}": metrics[f"{kind}/{name}"]
        for kind, suffix in kinds.items()
        for name in SUMMARY
        if f"{kind}/{name}" in metrics
    }
    text = "Average precision over overlaps of 0.5 to 0.95, and its parts."
    best = analysis["best"]
    if best:
        text += (
            f" A single threshold is best at a score of <b>{best['threshold']:.2f}</b>: it gives a precision of "
            f"{100 * best['precision']:.1f} and a recall of {100 * best['recall']:.1f} (F1 {100 * best['f1']:.1f})."
        )
    return Section("summary", "Summary", text, cards(figures))


def _errors(analysis: Mapping[str, Any]) -> Section:
    errors = sorted(analysis["errors"], key=lambda each: -(each["cost"] or 0))
    most = max([each["cost"] or 0 for each in errors] + [1e-9])
    rows = [
        [
            escape(each["kind"]),
            number(each["cost"], 2),
            f"{each['count']:,}",
            bar_cell((each["cost"] or 0) / most),
        ]
        for each in errors
    ]
    text = (
        "The points of AP50 that each kind of error costs, as TIDE measures it: how much the figure would rise if all "
        "errors of that kind were put right and nothing else changed."
    )
    return Section(
        "errors",
        "What errors cost",
        text,
        table(["error", "AP50 lost", "detections or objects", ""], rows),
    )


def _stages(analysis: Mapping[str, Any]) -> Section | None:
    recall = analysis["first_stage"]
    if not recall:
        return None
    counts = [int(count) for count in recall]
    chart = Chart("recall by the number of proposals", x=(counts[0], counts[-1]), y=(0, 100), width=420, height=190,
                  logarithmic=True)  # fmt: skip
    chart.axes({float(count): str(count) for count in counts}, {0.0: "0", 50.0: "50", 100.0: "100"})
    for key, kind in (("R50", "two"), ("AR", "")):
        points = [
            (float(count), values[key])
            for count, values in zip(counts, recall.values(), strict=True)
        ]
        chart.line(points, kind=kind)
        for point in points:
            chart.dot(point, f"{key} {point[1]:.1f} with {point[0]:.0f} proposals", kind=kind)
    rows = [
        [str(count), number(values["R50"]), number(values["R75"]), number(values["AR"])]
        for count, values in zip(counts, recall.values(), strict=True)
    ]
    key = '<p class="key"><b class="two">recall at 0.5</b> &nbsp; <b>average recall, 0.5 to 0.95</b></p>'
    body = f'<div class="grid" style="--least:22rem"><div class="tile">{chart.svg()}{key}</div>'
    body += f"<div>{table(['proposals', 'R50', 'R75', 'AR'], rows)}</div></div>"
    text = (
        "The share of objects that a proposal of the first stage covers, whatever their class. What is missed here no "
        "second stage can find; where the curve is flat, fewer proposals cost nothing."
    )
    return Section("proposals", "First stage alone", text, body)


def _calibration(analysis: Mapping[str, Any]) -> Section:
    tiles = []
    for each in analysis["calibration"]:
        chart = Chart(f"{each['name']}: how often detections of a score are right")
        chart.axes(UNIT_TICKS, UNIT_TICKS)
        most = max([*each["counts"], 1])
        for start, end, count, precision in zip(
            each["edges"], each["edges"][1:], each["counts"], each["precision"], strict=False
        ):
            if count:
                text = f"{count:,} with a score of {start} to {end}: {100 * precision:.1f} % right"
                chart.column(
                    start, end, precision, text, kind="" if count >= 0.002 * most else "faint"
                )
        chart.guide((0, 0), (1, 1))
        tiles.append(
            tile(
                each["name"], f"error {number(each['error'])}", chart.svg(), escape(each["meaning"])
            )
        )
    text = (
        "How often what has a score is right. On the dotted line a score can be read as a probability; below it the "
        "detector is too sure. Pale columns rest on few detections."
    )
    return Section(
        "calibration", "Calibration of scores", text, f'<div class="grid">{"".join(tiles)}</div>'
    )


def _classes(analysis: Mapping[str, Any]) -> Section:
    known = [each for each in analysis["classes"] if each["objects"]]
    ranked = sorted(known, key=lambda each: each["AP50"])
    tiles = [_class_tile(each) for each in ranked[:SHOWN_CLASSES]]
    text = (
        "Precision over recall (left) and F1 over the threshold (right), the weakest class first. The dot is where F1 "
        "is highest."
    )
    if len(ranked) > SHOWN_CLASSES:
        text += f" The {SHOWN_CLASSES} weakest of {len(ranked)} classes are shown; report.json holds all."
    return Section(
        "classes",
        "Classes",
        text,
        f'<div class="grid" style="--least:19rem">{"".join(tiles)}</div>',
    )


def _class_tile(each: Mapping[str, Any]) -> str:
    steps = np.linspace(0, 1, len(each["precision_at_recall"]))
    curve = Chart(f"{each['name']}: precision over recall", width=150, height=110).axes(
        UNIT_TICKS, UNIT_TICKS
    )
    reached = [
        (float(r), p) for r, p in zip(steps, each["precision_at_recall"], strict=True) if p > 0
    ]
    curve.line(reached, area=True)
    f1 = Chart(f"{each['name']}: F1 over the threshold", width=150, height=110).axes(
        UNIT_TICKS, UNIT_TICKS
    )
    f1.line(
        [(float(t), x) for t, x in zip(steps, each["at_threshold"]["f1"], strict=True)], kind="two"
    )
    best, text = each["best"], "nothing found"
    if best:
        curve.dot((best["recall"], best["precision"]))
        f1.dot((best["threshold"], best["f1"]), kind="two")
        text = (
            f"threshold {best['threshold']:.2f}: precision {100 * best['precision']:.0f}, "
            f"recall {100 * best['recall']:.0f}, F1 {100 * best['f1']:.0f}"
        )
    note = (
        f"AP {number(each['AP'])} &middot; AP50 {number(each['AP50'])} &middot; {each['objects']:,}"
    )
    return tile(each["name"], note, f'<div class="pair">{curve.svg()}{f1.svg()}</div>', text)


def _confusion(analysis: Mapping[str, Any]) -> Section:
    names, matrix = analysis["confusion"]["classes"], np.array(analysis["confusion"]["matrix"])
    text = (
        "Objects by class (rows) and what they were detected as (columns), for detections above a score of "
        f"{analysis['confusion']['threshold']:.2f}. The last column counts missed objects, the last row detections on "
        "no object."
    )
    shown = np.arange(len(names))
    if len(names) > SHOWN_MATRIX:
        wrong = (
            matrix[:-1, :-1].sum(axis=0) + matrix[:-1, :-1].sum(axis=1) - 2 * np.diag(matrix)[:-1]
        )
        shown = np.sort(np.argsort(-wrong, kind="stable")[:SHOWN_MATRIX])
        text += f" The {SHOWN_MATRIX} classes that are confused most often are shown."
    picked = [*shown.tolist(), len(names)]
    labels = [*(names[i] for i in shown), "background"]
    totals = np.maximum(matrix.sum(axis=1), 1)
    rows = []
    for i, label in zip(picked, labels, strict=True):
        cells = [
            f'<td class="{"diagonal" if i == j else ""}" style="--share:{0.75 * matrix[i, j] / totals[i]:.2f}" '
            f'title="{escape(label)} as {escape(other)}: {matrix[i, j]:,}">{matrix[i, j] or ""}</td>'
            for j, other in zip(picked, labels, strict=True)
        ]
        rows.append(f"<tr><th>{escape(label)}</th>{''.join(cells)}</tr>")
    head = "".join(f'<th title="{escape(label)}">{escape(label)}</th>' for label in labels)
    body = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    body = f'<div class="wide"><table class="matrix">{body}</table></div>'
    pairs = _worst_pairs(names, matrix)
    if pairs:
        body += f"<h3>Most frequent confusions</h3>{table(['object', 'detected as', 'times', 'of its objects'], pairs)}"
    return Section("confusion", "Confusion", text, body)


def _worst_pairs(names: Sequence[str], matrix: np.ndarray[Any, Any]) -> list[list[str]]:
    between = matrix[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    order = np.argsort(-between, axis=None, kind="stable")[:8]
    totals = matrix.sum(axis=1)
    pairs = [divmod(int(k), len(between)) for k in order]
    return [
        [
            escape(names[i]),
            f'<td style="text-align:left">{escape(names[j])}</td>',
            str(between[i, j]),
            f"{100 * between[i, j] / totals[i]:.1f} %",
        ]
        for i, j in pairs
        if between[i, j]
    ]


def _examples(analysis: Mapping[str, Any], gallery: Gallery) -> list[Section]:
    sections = []
    for kind, (title, text) in EXAMPLES.items():
        examples = analysis["examples"][kind]
        tiles = "".join(gallery.tile(each) for each in examples) or "<p>None.</p>"
        text += ' Objects are <span style="color:var(--good)">dashed green</span>, '
        if kind == "missed":
            text += 'the missed one <span style="color:var(--bad)">red</span>; '
        else:
            text += 'the detection <span style="color:var(--two)">orange</span>; '
        text += "a click shows the whole image."
        sections.append(
            Section(kind, title, text, f'<div class="grid" style="--least:12.5rem">{tiles}</div>')
        )
    return sections


def evaluation_markdown(title: str, analysis: Mapping[str, Any]) -> str:
    """The figures of the page as Markdown."""
    metrics = analysis["metrics"]
    shown = [(name, metrics[f"bbox/{name}"]) for name in SUMMARY if f"bbox/{name}" in metrics]
    lines = [
        f"# {title}",
        "",
        f"{analysis['images']:,} images, {analysis['objects']:,} objects.",
        "",
    ]
    lines += _rows([name for name, _ in shown], [[_text(value) for _, value in shown]])
    if analysis["best"]:
        best = analysis["best"]
        lines += ["", f"Best single threshold {best['threshold']:.2f}: precision {100 * best['precision']:.1f}, "
                      f"recall {100 * best['recall']:.1f}, F1 {100 * best['f1']:.1f}."]  # fmt: skip
    lines += ["", "## What errors cost", ""]
    errors = [
        [each["kind"], _text(each["cost"], 2), str(each["count"])] for each in analysis["errors"]
    ]
    lines += _rows(["error", "AP50 lost", "count"], errors)
    if analysis["first_stage"]:
        recall = [
            [str(n), _text(v["R50"]), _text(v["R75"]), _text(v["AR"])]
            for n, v in analysis["first_stage"].items()
        ]
        lines += ["", "## First stage alone", "", *_rows(["proposals", "R50", "R75", "AR"], recall)]
    calibration = [
        [each["name"], _text(each["error"]), each["meaning"]] for each in analysis["calibration"]
    ]
    lines += [
        "",
        "## Calibration of scores",
        "",
        *_rows(["score", "error", "meaning"], calibration),
    ]
    classes = [_class_row(each) for each in analysis["classes"]]
    head = ["class", "objects", "AP", "AP50", "best threshold", "precision", "recall", "F1"]
    lines += ["", "## Classes", "", *_rows(head, classes)]
    return "\n".join(lines) + "\n"


def _class_row(each: Mapping[str, Any]) -> list[str]:
    best = each["best"] or {}
    at_best = [
        f"{best[key]:.2f}" if best else "-" for key in ("threshold", "precision", "recall", "f1")
    ]
    return [
        each["name"].replace("|", "\\|"),
        str(each["objects"]),
        _text(each["AP"]),
        _text(each["AP50"]),
        *at_best,
    ]


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _text(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
