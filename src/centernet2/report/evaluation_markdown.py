"""The analysis of an evaluation as Markdown."""

from collections.abc import Mapping
from typing import Any

from centernet2.outputs import mark_of
from centernet2.report.markdown import markdown_number, markdown_table

# metrics that are shown first, if there are any
SUMMARY_METRICS = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR100", "AR300",
)  # fmt: skip


def evaluation_markdown(title: str, analysis: Mapping[str, Any]) -> str:
    """Write the tables of the page as Markdown."""
    lines = [
        f"<!-- {mark_of('eval')} -->",
        "",
        f"# {title}",
        "",
        f"{analysis['images']:,} images, {analysis['objects']:,} objects.",
        "",
        *_summary(analysis),
        "",
        "## What errors cost",
        "",
    ]
    errors = [
        [each["kind"], markdown_number(each["cost"], 2), str(each["count"])]
        for each in analysis["errors"]
    ]
    lines += markdown_table(["error", "AP50 lost", "count"], errors)
    if analysis["first_stage"]:
        recall = [
            [str(count), *(markdown_number(values[key]) for key in ("R50", "R75", "AR"))]
            for count, values in analysis["first_stage"].items()
        ]
        lines += ["", "## First stage alone", ""]
        lines += markdown_table(["proposals", "R50", "R75", "AR"], recall)
    calibration = [
        [each["name"], markdown_number(each["error"]), each["meaning"]]
        for each in analysis["calibration"]
    ]
    lines += ["", "## Calibration of scores", ""]
    lines += markdown_table(["score", "error", "meaning"], calibration)
    classes = [_class_row(each) for each in analysis["classes"]]
    head = ["class", "objects", "AP", "AP50", "best threshold", "precision", "recall", "F1"]
    lines += ["", "## Classes", "", *markdown_table(head, classes)]
    return "\n".join(lines) + "\n"


def _summary(analysis: Mapping[str, Any]) -> list[str]:
    metrics, best = analysis["metrics"], analysis["best"]
    names = [name for name in SUMMARY_METRICS if f"bbox/{name}" in metrics]
    lines = markdown_table(names, [[markdown_number(metrics[f"bbox/{name}"]) for name in names]])
    for note in analysis.get("notes", []):
        lines += ["", f"{note}."]
    if best:
        lines += [
            "",
            f"Best single threshold {best['threshold']:.2f}: precision "
            f"{100 * best['precision']:.1f}, recall {100 * best['recall']:.1f}, "
            f"F1 {100 * best['f1']:.1f}.",
        ]
    return lines


def _class_row(each: Mapping[str, Any]) -> list[str]:
    best = each["best"] or {}
    at_best = [
        f"{best[key]:.2f}" if best else "-" for key in ("threshold", "precision", "recall", "f1")
    ]
    return [
        each["name"],
        str(each["objects"]),
        markdown_number(each["AP"]),
        markdown_number(each["AP50"]),
        *at_best,
    ]
