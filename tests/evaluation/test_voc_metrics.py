"""Pascal VOC's AP50 by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.evaluation.voc_metrics import area_under, eleven_points, voc_metrics
from centernet2.structures import FloatArray


def truth(folder: Path, boxes: list[tuple[int, list[float], int]]) -> DetectionDataset:
    """Two images, classes cat and dog; boxes are (image, xywh, crowd), all cats."""
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 100} for i in (4, 5)]
    annotations = [
        {"id": i, "image_id": image, "category_id": 1, "bbox": box, "area": 1, "iscrowd": crowd}
        for i, (image, box, crowd) in enumerate(boxes, 1)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path = folder / "truth.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return load_coco(path, folder, name="voc")


def detections(*rows: tuple[int, list[float], float]) -> FloatArray:
    return np.array(
        [(image - 4, *box, score, 0) for image, box, score in rows], dtype=np.float64
    ).reshape(-1, 7)


A, B = [0, 0, 20, 20], [50, 50, 20, 20]


def test_area_under_curve_and_eleven_points(tmp_path: Path) -> None:
    """Detect right, false, right: precision 1 to recall 1/3, then 2/3 to recall 2/3."""
    objects = [(4, A, 0), (4, B, 0), (5, A, 0)]
    results = detections((4, A, 0.9), (5, B, 0.8), (4, B, 0.7))
    metrics = voc_metrics(truth(tmp_path, objects), results)
    assert metrics["voc/AP50"] == metrics["voc/AP50/cat"] == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert metrics["voc/AP50_2007"] == pytest.approx(100 * (4 + 3 * 2 / 3) / 11)
    assert math.isnan(metrics["voc/AP50/dog"])


def test_iou_of_one_half_is_no_match(tmp_path: Path) -> None:
    dataset = truth(tmp_path, [(4, A, 0)])
    assert voc_metrics(dataset, detections((4, [0, 0, 10, 20], 0.9)))["voc/AP50"] == 0
    assert voc_metrics(dataset, detections((4, [0, 0, 10.1, 20], 0.9)))["voc/AP50"] == 100


def test_matched_object_is_not_passed_on(tmp_path: Path) -> None:
    """COCO would match the second detection to the second object (IoU above 0.5)."""
    dataset = truth(tmp_path, [(4, [0, 0, 20, 20], 0), (4, [2, 0, 20, 20], 0)])
    assert voc_metrics(dataset, detections((4, A, 0.9), (4, A, 0.8)))["voc/AP50"] == pytest.approx(
        50
    )


def test_difficult_objects_are_ignored(tmp_path: Path) -> None:
    dataset = truth(tmp_path, [(4, A, 0), (4, B, 1)])
    assert voc_metrics(dataset, detections((4, B, 0.9), (4, B, 0.8), (4, A, 0.7)))[
        "voc/AP50"
    ] == pytest.approx(100)


def test_class_without_detections_has_zero_ap(tmp_path: Path) -> None:
    metrics = voc_metrics(truth(tmp_path, [(4, A, 0)]), detections())
    assert metrics["voc/AP50"] == metrics["voc/AP50_2007"] == 0


def test_curve_without_detections_has_zero_area() -> None:
    assert area_under(np.zeros(0), np.zeros(0)) == eleven_points(np.zeros(0), np.zeros(0)) == 0
