"""COCO evaluation of 5,000 images and 80 classes, against pycocotools.

python benchmarks/evaluation.py [--images 5000] [--runs 2]
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from harness import compare
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from centernet2.data.readers.coco import load_coco
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.structures import FloatArray

CLASSES, OBJECTS, DETECTIONS, CROWDS = 80, 7.3, 100, 0.01


def write_annotations(path: Path, images: int, rng: np.random.Generator) -> FloatArray:
    """Write a data set like COCO's validation set.

    Returns its boxes as rows (image id, x, y, width, height, category id).
    """
    image_ids = np.repeat(np.arange(1, images + 1), rng.poisson(OBJECTS, images))
    sizes = np.exp(rng.uniform(np.log(8), np.log(300), (len(image_ids), 2)))
    corners = rng.uniform(0, 1, (len(image_ids), 2)) * np.maximum([640, 480] - sizes, 1)
    rows = np.column_stack(
        [image_ids, corners, sizes, rng.integers(1, CLASSES + 1, len(image_ids))]
    ).round(2)
    crowd = rng.random(len(rows)) < CROWDS
    annotations = [
        {
            "id": i, "image_id": int(row[0]), "bbox": row[1:5].tolist(),
            "area": 0.7 * row[3] * row[4],
            "category_id": int(row[5]), "iscrowd": int(crowd[i - 1]),
        }
        for i, row in enumerate(rows, 1)
    ]  # fmt: skip
    records = [
        {"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640}
        for i in range(1, images + 1)
    ]
    categories = [{"id": i, "name": str(i)} for i in range(1, CLASSES + 1)]
    path.write_text(
        json.dumps({"images": records, "annotations": annotations, "categories": categories})
    )
    return rows


def detections(rows: FloatArray, images: int, rng: np.random.Generator) -> FloatArray:
    """Make 100 detections per image: moved objects, duplicates, noise; scores tie."""
    total = images * DETECTIONS
    image_ids = np.repeat(np.arange(1, images + 1), DETECTIONS)
    counts = np.bincount(rows[:, 0].astype(int), minlength=images + 1)
    starts = counts.cumsum() - counts
    own = starts[image_ids] + (rng.random(total) * counts[image_ids]).astype(int)
    near = rows[np.where(counts[image_ids] > 0, own, rng.integers(0, len(rows), total))]
    boxes = near[:, 1:5] + rng.normal(0, 0.12, (total, 4)) * near[:, [3, 4, 3, 4]]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    categories = np.where(rng.random(total) < 0.4, rng.integers(1, CLASSES + 1, total), near[:, 5])
    return np.column_stack([image_ids, boxes, rng.random(total).round(3), categories])


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances.json"
        results = detections(write_annotations(path, options.images, rng), options.images, rng)
        dataset = load_coco(path, path.parent, name="synthetic")
        positions = results - [1, 0, 0, 0, 0, 0, 1]  # ids count from 1

        def pycocotools() -> float:
            with contextlib.redirect_stdout(io.StringIO()):
                truth = COCO(str(path))
                evaluator = COCOeval(truth, truth.loadRes(results), "bbox")
                evaluator.evaluate()
                evaluator.accumulate()
                evaluator.summarize()
            return 100 * float(evaluator.stats[0])

        def ours() -> float:
            return coco_metrics(dataset, positions)["bbox/AP"]

        compare(
            "COCO evaluation",
            {"ours": ours, "pycocotools": pycocotools},
            warm_up=0,
            runs=options.runs,
            images=options.images,
            detections=len(results),
            difference=abs(ours() - pycocotools()),
        )


if __name__ == "__main__":
    main()
