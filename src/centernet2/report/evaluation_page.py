"""The page of an evaluation: errors, what they cost, and examples."""

import logging
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from centernet2.data import DetectionDataset, read_indexed_image
from centernet2.evaluation import Scored, analyze, boxes_of_image, without_images
from centernet2.files import printable, write_atomic, write_json
from centernet2.images.stored_image import to_pixels
from centernet2.outputs import json_mark
from centernet2.report.evaluation_markdown import SUMMARY_METRICS, evaluation_markdown
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
from centernet2.structures import FloatArray, IntArray

logger = logging.getLogger(__name__)

CURVE_CLASSES = 100  # of which curves are shown
MATRIX_CLASSES = 30
CONFUSED_PAIRS = 8
FAINT_SHARE = 0.002  # of the largest bin: smaller ones are drawn pale
EXAMPLE_KINDS = {
    "false": ("False detections", "The false detections of highest score."),
    "missed": ("Missed objects", "The largest objects that no detection of their class matches."),
    "confused": (
        "Confused classes",
        "The detections of highest score on an object of another class.",
    ),
}


def report_evaluation(
    folder: Path, *, title: str, dataset: DetectionDataset, scored: Scored
) -> None:
    """Analyze an evaluation and write the page."""
    dataset, results = without_images(dataset, scored.results, scored.skipped)
    analysis = analyze(dataset, results, scored.metrics, scored.stages)
    analysis["notes"] = scored.notes
    path = write_evaluation_page(folder, title, analysis, dataset, results)
    logger.info("report: %s", path.absolute())


def write_evaluation_page(
    folder: Path,
    title: str,
    analysis: Mapping[str, Any],
    dataset: DetectionDataset,
    results: FloatArray,
) -> Path:
    """Write report.html, report.json and report.md, and return the path of the page."""
    write_json(folder / "report.json", json_mark("eval") | {"title": title, **analysis}, indent=1)
    write_atomic(folder / "report.md", evaluation_markdown(title, analysis))
    gallery = Gallery()
    threshold = analysis["best"]["threshold"] if analysis["best"] else 0.0
    examples = [each for kind in EXAMPLE_KINDS for each in analysis["examples"][kind]]
    for image in {each["image"] for each in examples}:
        try:
            pixels = to_pixels(read_indexed_image(dataset, image))
        except (OSError, ValueError) as error:  # results need no image
            logger.warning("the report has no examples of an image that cannot be used: %s", error)
            continue
        path = dataset.image_path(image)
        boxes = boxes_of_image(dataset, results, threshold, image)
        link = quote(os.path.relpath(path, folder), errors="surrogateescape")
        gallery.add(image, pixels, boxes, name=printable(path.name), link=link)
    subtitle = (
        f"{analysis['images']:,} images, {analysis['objects']:,} objects, "
        f"{analysis['detections']:,} detections. "
        "Metrics are in percent; curves, errors and examples are at an IoU of 0.5."
    )
    sections = [_summary(analysis), _errors(analysis), _stages(analysis), _calibration(analysis)]
    sections += [_classes(analysis), _confusion(analysis), *_examples(analysis, gallery)]
    content = page(
        title,
        subtitle,
        [each for each in sections if each],
        command="eval",
        hidden=gallery.definitions(),
    )
    write_atomic(folder / "report.html", content)
    return folder / "report.html"


def _summary(analysis: Mapping[str, Any]) -> Section:
    metrics = analysis["metrics"]
    kinds = {"bbox": "", "segm": " of masks", "voc": " of Pascal VOC"}
    shown = {
        f"{name}{suffix}": metrics[f"{kind}/{name}"]
        for kind, suffix in kinds.items()
        for name in SUMMARY_METRICS
        if f"{kind}/{name}" in metrics
    }
    text = "Average precision over IoUs of 0.5 to 0.95, and its parts."
    best = analysis["best"]
    if best:
        text += (
            f" A single threshold is best at a score of <b>{best['threshold']:.2f}</b>: it gives a "
            f"precision of {100 * best['precision']:.1f} and a recall of "
            f"{100 * best['recall']:.1f} (F1 {100 * best['f1']:.1f})."
        )
    text += "".join(f"<br>{escape(note)}." for note in analysis.get("notes", []))
    return Section("summary", "Summary", text, cards(shown))


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
        "The points of AP50 that each kind of error costs, as TIDE measures it: by how much AP50 "
        "would rise if all errors of that kind were corrected and nothing else changed."
    )
    body = table(["error", "AP50 lost", "detections or objects", ""], rows)
    return Section("errors", "What errors cost", text, body)


def _stages(analysis: Mapping[str, Any]) -> Section | None:
    recall = analysis["first_stage"]
    if not recall:
        return None
    chart = _recall_chart({int(count): values for count, values in recall.items()})
    rows = [
        [str(count), *(number(values[key]) for key in ("R50", "R75", "AR"))]
        for count, values in recall.items()
    ]
    key = (
        '<p class="key"><b class="two">recall at 0.5</b> &nbsp; '
        "<b>average recall, 0.5 to 0.95</b></p>"
    )
    body = f'<div class="grid" style="--least:22rem"><div class="tile">{chart.svg()}{key}</div>'
    body += f"<div>{table(['proposals', 'R50', 'R75', 'AR'], rows)}</div></div>"
    text = (
        "The share of objects that a proposal of the first stage covers, whatever their class. "
        "The second stage cannot detect what is missed here; where the curve is flat, fewer "
        "proposals cost nothing."
    )
    return Section("proposals", "First stage alone", text, body)


def _recall_chart(recall: Mapping[int, Mapping[str, float]]) -> Chart:
    counts = list(recall)
    chart = Chart(
        "recall by the number of proposals",
        x=(counts[0], counts[-1]),
        y=(0, 100),
        width=420,
        height=190,
        logarithmic=True,
    )
    chart.axes({float(count): str(count) for count in counts}, {0.0: "0", 50.0: "50", 100.0: "100"})
    for key, kind in (("R50", "two"), ("AR", "")):
        points = [(float(count), values[key]) for count, values in recall.items()]
        chart.line(points, kind=kind)
        for point in points:
            chart.dot(point, f"{key} {point[1]:.1f} with {point[0]:.0f} proposals", kind=kind)
    return chart


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
                kind = "" if count >= FAINT_SHARE * most else "faint"
                chart.column(start, end, precision, text, kind=kind)
        chart.guide((0, 0), (1, 1))
        note = f"error {number(each['error'])}"
        tiles.append(tile(each["name"], note, chart.svg(), escape(each["meaning"])))
    text = (
        "How often detections of a score are right. On the dotted line a score is a probability; "
        "below it the detector is overconfident. Pale columns have few detections."
    )
    body = f'<div class="grid">{"".join(tiles)}</div>'
    return Section("calibration", "Calibration of scores", text, body)


def _classes(analysis: Mapping[str, Any]) -> Section:
    known = [each for each in analysis["classes"] if each["objects"]]
    ranked = sorted(known, key=lambda each: each["AP50"])
    tiles = [_class_tile(each) for each in ranked[:CURVE_CLASSES]]
    text = (
        "Precision over recall (left) and F1 over the threshold (right), the weakest class first. "
        "The dot is where F1 is highest."
    )
    if len(ranked) > CURVE_CLASSES:
        text += (
            f" The {CURVE_CLASSES} weakest of {len(ranked)} classes are shown; "
            "report.json holds all."
        )
    body = f'<div class="grid" style="--least:19rem">{"".join(tiles)}</div>'
    return Section("classes", "Classes", text, body)


def _class_tile(each: Mapping[str, Any]) -> str:
    name, best = each["name"], each["best"]
    steps = np.linspace(0, 1, len(each["precision_at_recall"])).tolist()
    curve = Chart(f"{name}: precision over recall", width=150, height=110)
    curve.axes(UNIT_TICKS, UNIT_TICKS)
    points = zip(steps, each["precision_at_recall"], strict=True)
    curve.line([(recall, precision) for recall, precision in points if precision > 0], area=True)
    f1 = Chart(f"{name}: F1 over the threshold", width=150, height=110)
    f1.axes(UNIT_TICKS, UNIT_TICKS)
    f1.line(list(zip(steps, each["at_threshold"]["f1"], strict=True)), kind="two")
    text = "no detections"
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
    return tile(name, note, f'<div class="pair">{curve.svg()}{f1.svg()}</div>', text)


def _confusion(analysis: Mapping[str, Any]) -> Section:
    names, matrix = analysis["confusion"]["classes"], np.array(analysis["confusion"]["matrix"])
    text = (
        "Objects by class (rows) and detected class (columns), for detections above a score of "
        f"{analysis['confusion']['threshold']:.2f}. The last column counts missed objects, the "
        "last row detections on no object."
    )
    shown = np.arange(len(names))
    if len(names) > MATRIX_CLASSES:
        classes = matrix[:-1, :-1]
        wrong = classes.sum(axis=0) + classes.sum(axis=1) - 2 * np.diag(classes)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MATRIX_CLASSES])
        text += f" The {MATRIX_CLASSES} classes that are confused most often are shown."
    body = _matrix_table([*names, "background"], matrix, [*shown.tolist(), len(names)])
    pairs = _most_confused(names, matrix)
    if pairs:
        head = ["object", "detected as", "times", "of its objects"]
        body += f"<h3>Most frequent confusions</h3>{table(head, pairs)}"
    return Section("confusion", "Confusion", text, body)


def _matrix_table(labels: Sequence[str], matrix: IntArray, shown: Sequence[int]) -> str:
    totals = np.maximum(matrix.sum(axis=1), 1)
    names = {i: escape(labels[i]) for i in shown}
    rows = []
    for i in shown:
        cells = [
            f'<td class="{"diagonal" if i == j else ""}" '
            f'style="--share:{0.75 * matrix[i, j] / totals[i]:.2f}" '
            f'title="{names[i]} as {names[j]}: {matrix[i, j]:,}">{matrix[i, j] or ""}</td>'
            for j in shown
        ]
        rows.append(f"<tr><th>{names[i]}</th>{''.join(cells)}</tr>")
    head = "".join(f'<th title="{name}">{name}</th>' for name in names.values())
    body = f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table class="matrix">{body}</table></div>'


def _most_confused(names: Sequence[str], matrix: IntArray) -> list[list[str]]:
    between = matrix[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    order = np.argsort(-between, axis=None, kind="stable")[:CONFUSED_PAIRS]
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
    for kind, (title, text) in EXAMPLE_KINDS.items():
        tiles = "".join(
            gallery.tile(each)
            for each in analysis["examples"][kind]
            if each["image"] in gallery.pictures
        )
        text += ' Objects are <span style="color:var(--good)">dashed green</span>, '
        if kind == "missed":
            text += 'the missed one <span style="color:var(--bad)">red</span>; '
        else:
            text += 'the detection <span style="color:var(--two)">orange</span>; '
        text += "a click shows the whole image."
        body = f'<div class="grid" style="--least:12.5rem">{tiles or "<p>None.</p>"}</div>'
        sections.append(Section(kind, title, text, body))
    return sections
