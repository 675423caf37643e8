"""Metrics as tables for a terminal."""

import math
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from centernet2.evaluation import (
    IMAGES_SKIPPED,
    SKIPPED_FILE,
    CalibrationError,
    Difference,
    ThresholdChoice,
)

TABLE_CLASSES, CLASSES_PER_ROW = 90, 3
TABLE_DIFFERENCES = 12
# first part of a metric's name -> title of its table
METRIC_KINDS = {"bbox": "boxes", "segm": "masks", "voc": "Pascal VOC"}


def metrics_table(metrics: Mapping[str, float]) -> Group:
    """Tables of AP, AR and the classes, of boxes, of masks and of Pascal VOC."""
    kinds = [kind for kind in METRIC_KINDS if any(name.startswith(f"{kind}/") for name in metrics)]
    skipped = int(metrics.get(IMAGES_SKIPPED, 0))
    words = f"skipped images, whose objects are left out: {skipped} ({SKIPPED_FILE})"
    return Group(
        *(table for kind in kinds for table in _tables_of(kind, metrics, titled=len(kinds) > 1)),
        *([words] if skipped else []),
    )


def _tables_of(kind: str, metrics: Mapping[str, float], *, titled: bool) -> list[Table]:
    of_kind = _with_prefix(metrics, f"{kind}/")
    summary = {name: value for name, value in of_kind.items() if "/" not in name}
    summaries = [
        _summary(own)
        for start in ("AP", "AR")
        if (own := {name: value for name, value in summary.items() if name.startswith(start)})
    ]
    if titled:
        summaries[0].title = METRIC_KINDS[kind]
    metric = next(iter(summary))  # AP, or AP50 of Pascal VOC
    classes = _with_prefix(of_kind, f"{metric}/")
    ranked = sorted((value, name) for name, value in classes.items() if math.isfinite(value))
    weakest = _class_table(metric, ranked[:TABLE_CLASSES])
    if hidden := len(classes) - len(ranked[:TABLE_CLASSES]):
        weakest.caption = (
            f"and {hidden} more in metrics.json: better ones, and those without ground truth"
        )
    return [*summaries, weakest]


def _with_prefix(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {n.removeprefix(prefix): x for n, x in metrics.items() if n.startswith(prefix)}


def _summary(metrics: Mapping[str, float]) -> Table:
    table = Table(*metrics, box=SIMPLE_HEAD)
    table.add_row(*map(_format, metrics.values()))
    return table


def _class_table(metric: str, ranked: Sequence[tuple[float, str]]) -> Table:
    table = Table(title=f"{metric} by class, weakest first", box=SIMPLE_HEAD)
    for _ in range(min(CLASSES_PER_ROW, len(ranked))):
        table.add_column("class")
        table.add_column(metric, justify="right")
    rows = math.ceil(len(ranked) / CLASSES_PER_ROW)
    for row in range(rows):
        cells = [(escape(name), _format(value)) for value, name in ranked[row::rows]]
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _format(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def differences_table(differences: Mapping[str, Difference], *, confidence: float) -> Group:
    """Tables of two detectors: summary metrics, and the classes that differ most."""
    summary = _difference_table(
        {name: each for name, each in differences.items() if "/" not in name}, confidence
    )
    classes = {name.removeprefix("AP/"): each for name, each in differences.items() if "/" in name}
    known = {name: each for name, each in classes.items() if math.isfinite(each.first)}
    order = sorted(known, key=lambda name: -abs(known[name].second - known[name].first))
    table = _difference_table({name: known[name] for name in order[:TABLE_DIFFERENCES]}, confidence)
    table.title = "AP by class, the greatest differences"
    return Group(summary, table)


def _difference_table(differences: Mapping[str, Difference], confidence: float) -> Table:
    table = Table("", "A", "B", "B - A", f"{confidence:.0%} interval", "", box=SIMPLE_HEAD)
    for name, each in differences.items():
        change = each.second - each.first
        verdict = ("better" if change > 0 else "worse") if each.is_real else "may be chance"
        bounds = f"{each.low:+.2f} to {each.high:+.2f}"
        table.add_row(
            escape(name),
            _format(each.first),
            _format(each.second),
            f"{change:+.2f}",
            bounds,
            verdict,
        )
    return table


def precision_tables(before: Mapping[str, float], after: Mapping[str, float]) -> Group:
    """Tables of a detector and its exported file: AP, and AP and recall by class.

    `PrecisionCheck` returns the metrics.
    """
    summary = Table("", "detector", "file", "change", box=SIMPLE_HEAD)
    for name in (name for name in before if "/" not in name):
        summary.add_row(name, *_change(before, after, name))
    losses = {
        name: before[f"AP/{name}"] - after[f"AP/{name}"] for name in _with_prefix(before, "AP/")
    }
    known = [name for name, loss in losses.items() if math.isfinite(loss)]
    columns = ("AP", "file", "change", "recall", "file", "change")
    classes = Table("class", *columns, title="classes, greatest loss first", box=SIMPLE_HEAD)
    for name in sorted(known, key=lambda name: -losses[name])[:TABLE_CLASSES]:
        cells = (_change(before, after, f"{kind}/{name}") for kind in ("AP", "recall"))
        classes.add_row(escape(name), *(cell for row in cells for cell in row))
    return Group(summary, classes)


def _change(before: Mapping[str, float], after: Mapping[str, float], name: str) -> list[str]:
    return [_format(before[name]), _format(after[name]), f"{after[name] - before[name]:+.2f}"]


def thresholds_table(chosen: Mapping[str, ThresholdChoice]) -> Table:
    """The threshold of each class with its precision, recall and F1."""
    table = Table("class", "threshold", "precision", "recall", "F1", "", box=SIMPLE_HEAD)
    for name, choice in chosen.items():
        cells = ["-", "-", "-"]
        note = "no objects or detections: the threshold of all classes"
        if choice.point is not None:
            cells = [f"{100 * value:.1f} %" for value in choice.point[1:]]
            note = "" if choice.reached else f"{choice.goal} not reached: the nearest"
        table.add_row(escape(name), f"{choice.threshold:.3f}", *cells, note)
    return table


def calibration_table(errors: Mapping[str, CalibrationError]) -> Table:
    """The expected calibration error of each probability, before and after."""
    title = "expected calibration error, fitted on one half of the images, measured on the other"
    table = Table("probability", "before", "after", title=title, box=SIMPLE_HEAD)
    for name, error in errors.items():
        table.add_row(name, *("-" if math.isnan(each) else f"{each:.2f} %" for each in error))
    return table


def counts_table(counts: Mapping[str, int]) -> Table:
    """Number of boxes of each class, the most frequent first."""
    table = Table("class", "boxes", box=SIMPLE_HEAD)
    for name, count in sorted(counts.items(), key=lambda item: -item[1])[:TABLE_CLASSES]:
        table.add_row(escape(name), str(count))
    return table
