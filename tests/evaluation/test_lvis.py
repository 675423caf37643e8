"""LVIS metrics: equal to the LVIS API (0.5.3), and the federated rules one by one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centernet2.data import concatenate
from centernet2.data.readers.coco import load_coco
from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.structures import FloatArray
from tests.helpers.evaluation import in_positions

# What lvis.LVISEval gives for `random_set`, in percent.
EXPECTED = {
    "AP": 13.865278737, "AP50": 22.272442442, "AP75": 15.416273633, "APs": 7.650503905,
    "APm": 16.706589497, "APl": 18.512695081, "APr": 13.588236201, "APc": 15.658771981,
    "APf": 12.379610534, "AR300": 48.580693482, "ARs": 17.442307692, "ARm": 47.305826744,
    "ARl": 68.447207114,
}  # fmt: skip


def annotation(image_id: int, category_id: int, box: list[float]) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": 0.7 * box[2] * box[3],
    }


def write(
    path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], frequencies: str
) -> None:
    images = [{"file_name": f"{i['id']}.jpg", "height": 400, "width": 500, **i} for i in images]
    annotations = [{"id": i, **each} for i, each in enumerate(annotations, 1)]
    categories = [
        {"id": i, "name": f"class {i}", "frequency": f} for i, f in enumerate(frequencies, 1)
    ]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def random_set(path: Path, *, images: int = 40, classes: int = 30) -> FloatArray:
    """Write annotations; return moved objects, duplicates and noise as detections."""
    rng = np.random.default_rng(0)
    annotations, records = [], []
    for image_id in range(1, images + 1):
        present = rng.permutation(classes - 2)[:5] + 1
        others = [c for c in range(1, classes + 1) if c not in present]
        negative, partly = rng.permutation(others)[:8].tolist(), [int(present[0])]
        records.append(
            {"id": image_id, "neg_category_ids": negative, "not_exhaustive_category_ids": partly}
        )
        for category in present.tolist():
            boxes = rng.integers(5, 200, (int(rng.integers(1, 5)), 4)).tolist()
            annotations += [annotation(image_id, category, box) for box in boxes]
    write(path, records, annotations, ("rcf" * classes)[:classes])
    rows = [
        (
            a["image_id"],
            *np.abs(np.array(a["bbox"]) + rng.integers(-6, 7, 4)),
            rng.random(),
            a["category_id"],
        )
        for a in annotations
        for _ in range(int(rng.integers(0, 4)))
    ]
    for _ in range(14000):
        box = rng.integers(1, 200, 4)
        rows.append(
            (rng.integers(1, images + 1), *box, 0.9 * rng.random(), rng.integers(1, classes + 1))
        )
    results = np.array(rows, dtype=np.float64)
    results[:, 5] = results[:, 5].round(2)
    return results


def test_random_set_equals_lvis_api(tmp_path: Path) -> None:
    results = random_set(tmp_path / "lvis.json")
    dataset = load_coco(tmp_path / "lvis.json", tmp_path, name="lvis")
    metrics = coco_metrics(dataset, in_positions(dataset, results))
    named = {name[5:]: value for name, value in metrics.items() if name.count("/") == 1}
    assert named == pytest.approx(EXPECTED, abs=1e-6)
    assert np.isnan(metrics["bbox/AP/class 30"])


def test_joined_data_sets_are_federated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Evaluate the data set joined with itself: the metrics stay."""
    results = random_set(tmp_path / "lvis.json", images=10)
    dataset = load_coco(tmp_path / "lvis.json", tmp_path, name="lvis")
    placed = in_positions(dataset, results)
    again = placed + np.array([len(dataset), 0, 0, 0, 0, 0, 0])
    metrics = coco_metrics(concatenate([dataset, dataset]), np.concatenate([placed, again]))
    expected = coco_metrics(dataset, placed)
    assert metrics["bbox/AP50"] == pytest.approx(expected["bbox/AP50"], abs=1)  # scores tie
    assert "bbox/AR300" in metrics and not caplog.text
    joined = concatenate([dataset, replace(dataset, federated=None, name="coco")])
    assert joined.federated is None and "lvis+coco: not all of these" in caplog.text


def test_only_annotated_classes_have_false_detections(tmp_path: Path) -> None:
    box = [10, 10, 50, 50]
    for name, negative, expected in (("looked", [1], 50.0), ("not", [2], 100.0)):
        images = [
            {"id": 1, "neg_category_ids": [], "not_exhaustive_category_ids": []},
            {"id": 2, "neg_category_ids": negative, "not_exhaustive_category_ids": []},
        ]
        path = tmp_path / f"{name}.json"
        write(path, images, [annotation(1, 1, box)], "rc")
        results = np.array(
            [(2, *box, 0.9, 1), (1, *box, 0.8, 1), (1, 5, 5, 0, 9, 0.9, 1)], dtype=np.float64
        )
        dataset = load_coco(path, tmp_path, name=name)
        metrics = coco_metrics(dataset, in_positions(dataset, results))
        assert metrics["bbox/AP"] == metrics["bbox/APr"] == pytest.approx(expected, abs=1e-6)
        assert np.isnan(metrics["bbox/APc"]) and "bbox/APf" not in metrics


def test_confusion_of_lvis_counts_300_detections(tmp_path: Path) -> None:
    """Rank the only match below 200 false detections."""
    box = [10.0, 10.0, 50.0, 50.0]
    image = {"id": 1, "neg_category_ids": [2], "not_exhaustive_category_ids": []}
    write(tmp_path / "t.json", [image], [annotation(1, 1, box)], "rc")
    others = [(1, 200, 200, 20, 20, 0.9, 1)] * 200
    dataset = load_coco(tmp_path / "t.json", tmp_path, name="t")
    results = in_positions(dataset, np.array([*others, (1, *box, 0.8, 1)], dtype=np.float64))
    analysis = analyze(dataset, results, coco_metrics(dataset, results))
    assert analysis["confusion"]["matrix"][0][0] == 1
