"""Curves, examples and the pages, on random detections."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.evaluation.analysis import analyse
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.curves import (
    best_point,
    class_curves,
    curve_of,
    point_of_precision,
    point_of_recall,
)
from centernet2.evaluation.ground_truth import FloatArray
from centernet2.evaluation.matching import match_detections
from centernet2.evaluation.stage_metrics import bin_scores
from centernet2.report.evaluation_page import markdown, write_diagnosis
from centernet2.report.training_page import write_report
from tests.evaluation.test_coco_metrics import random_results, write_random_annotations


@pytest.fixture
def found(tmp_path: Path) -> tuple[DetectionDataset, FloatArray]:
    rng = np.random.default_rng(8)
    content = write_random_annotations(tmp_path / "truth.json", rng, images=20, classes=5)
    content["categories"][0]["name"] = "<i>&"  # names are not HTML
    (tmp_path / "truth.json").write_text(json.dumps(content))
    results = random_results(rng, content, decimals=3, noise=400)
    results = results[np.argsort(results[:, 0], kind="stable")]
    return load_coco(tmp_path / "truth.json", tmp_path, name="random"), results


def stages_of(dataset: DetectionDataset, results: FloatArray) -> list[dict[str, Any]]:
    """Both stages say the root of the score."""
    records = []
    for image_id in dataset.image_ids.tolist():
        scores = results[results[:, 0] == image_id][:, 5] ** 0.5
        recall = {str(count): [0.4, 0.8] for count in (50, 100, 256, 1000)}
        bins = [column.tolist() for column in bin_scores(scores, scores > 0.5)]
        columns = {"object_scores": scores.tolist(), "class_scores": scores.tolist()}
        records.append({**columns, "recall": recall, "proposals": bins, "num_proposals": 1000})
    return records


def test_curves_give_the_ap50_of_coco(found: tuple[DetectionDataset, FloatArray]) -> None:
    dataset, results = found
    matches = match_detections(dataset, results, overlaps=(0.5, 0.75))
    metrics = coco_metrics(dataset, results)
    for overlap, name in ((0, "AP50"), (1, "AP75")):
        curves = class_curves(matches, 5, overlap=overlap)
        figures = [100 * curve.average_precision for curve in curves]
        assert math.isnan(figures[4])
        # at equal scores COCO's curve has a point for each detection, this one a point for each score
        assert np.nanmean(figures) == pytest.approx(metrics[f"bbox/{name}"], abs=0.3)


def test_points_on_a_curve() -> None:
    """Falling scores: right, wrong, right and right together, wrong; four objects."""
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.7])
    curve = curve_of(scores, np.array([False, True, False, True, True]), 4)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert curve.precision.tolist() == [1, 0.5, 0.75, 0.6]
    assert curve.recall.tolist() == [0.25, 0.25, 0.75, 0.75]
    best, precise, complete = (
        best_point(curve),
        point_of_precision(curve, 0.75),
        point_of_recall(curve, 0.2),
    )
    assert best is not None and (best.threshold, best.f1) == (0.7, 0.75)
    assert precise is not None and precise.threshold == 0.7
    assert complete is not None and complete.threshold == 0.9
    assert point_of_recall(curve, 0.9) is None
    nothing = curve_of(np.zeros(0), np.zeros(0, dtype=bool), 4)
    assert best_point(nothing) is None and nothing.average_precision == 0


def test_the_record_is_json_and_adds_up(found: tuple[DetectionDataset, FloatArray]) -> None:
    dataset, results = found
    analysis = analyse(
        dataset, results, coco_metrics(dataset, results), stages_of(dataset, results)
    )
    assert json.loads(json.dumps(analysis, allow_nan=False))
    matrix = np.array(analysis["confusion"]["matrix"])
    assert matrix[:-1].sum() == (~dataset.crowd).sum() == analysis["objects"]
    assert [len(analysis["examples"][kind]) for kind in ("false", "missed", "confused")] == [
        12,
        12,
        12,
    ]
    for example in analysis["examples"]["false"] + analysis["examples"]["confused"]:
        assert example["score"] >= analysis["best"]["threshold"]
    assert all(
        example["object"] != example["class"] for example in analysis["examples"]["confused"]
    )
    assert analysis["first_stage"][100]["R50"] == 50
    calibration = {each["name"]: each for each in analysis["calibration"]}
    assert list(calibration) == ["first stage", "second stage", "product", "score"]
    errors = [calibration[name]["error"] for name in ("product", "score")]
    assert errors[0] == pytest.approx(errors[1], abs=0.01)  # the product is the score here


def test_without_detections(found: tuple[DetectionDataset, FloatArray], tmp_path: Path) -> None:
    dataset, _ = found
    nothing = np.zeros((0, 7))
    analysis = analyse(dataset, nothing, coco_metrics(dataset, nothing))
    assert analysis["best"] is None and analysis["first_stage"] is None
    path = write(tmp_path / "report", dataset, nothing, analysis)
    assert "None." in path.read_text()


class Page(HTMLParser):
    """Collects the addresses and anchors of a page, and whether its tags are closed."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.collect(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.collect(attrs)

    def collect(self, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src")]
        self.anchors += [value or "" for key, value in attrs if key == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(path: Path) -> str:
    """The text of a page that is well formed, needs no network and whose anchors exist."""
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open and "<script" not in text
    assert not [each for each in page.addresses if re.match(r"(https?:)?//", each)]
    assert {each[1:] for each in page.addresses if each.startswith("#") and each != "#!"} <= set(
        page.anchors
    )
    return text


def write(
    folder: Path, dataset: DetectionDataset, results: FloatArray, analysis: dict[str, Any]
) -> Path:
    def read_image(image_id: int) -> tuple[Path, Tensor]:
        return folder.parent / f"{image_id}.jpg", torch.zeros(3, 480, 500, dtype=torch.uint8)

    return write_diagnosis(
        folder,
        title="a <b>",
        analysis=analysis,
        truth=dataset,
        results=results,
        read_image=read_image,
    )


def test_the_page_stands_alone(found: tuple[DetectionDataset, FloatArray], tmp_path: Path) -> None:
    dataset, results = found
    analysis = analyse(
        dataset, results, coco_metrics(dataset, results), stages_of(dataset, results)
    )
    text = check(write(tmp_path / "report", dataset, results, analysis))
    assert "&lt;i&gt;&amp;" in text and "<i>&" not in text
    example = analysis["examples"]["missed"][0]["image_id"]
    assert f'href="../{example}.jpg"' in text
    assert (
        json.loads((tmp_path / "report" / "report.json").read_text())["objects"]
        == analysis["objects"]
    )
    lines = markdown("a", analysis).splitlines()
    assert "| wrong class |" in "\n".join(lines)
    assert (tmp_path / "report" / "report.md").read_text().startswith("# a <b>")


@pytest.mark.parametrize("missing", [math.nan, None])
def test_the_page_of_a_training(tmp_path: Path, missing: float | None) -> None:
    steps = [
        {"iteration": i, "loss": 5 / i, "lr": 0.1, "images_per_second": None} for i in range(1, 5)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps)))
    write_report(
        tmp_path / "report.html",
        title="digits",
        summary={"AP50": 12.3},
        metrics_jsonl=tmp_path / "metrics.jsonl",
        evaluation={
            "bbox/AP": 10.0,
            "bbox/APl": missing,
            "bbox/AP/cat": 20.0,
            "bbox/AP/dog": missing,
        },
        pictures=[("one", torch.zeros(3, 20, 30, dtype=torch.uint8))],
    )
    text = check(tmp_path / "report.html")
    assert "dog" in text and "&ndash;" in text
