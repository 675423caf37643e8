"""Share of injected label errors that `centernet2 check` puts at the front of its list.

python benchmarks/wrong_labels.py DATA --weights W [--split val] [--errors 12] [--seeds 0 1 2]
python benchmarks/wrong_labels.py DATA --folds 3 --output FOLDER [--minutes 5] [--split train]

Into a split of DATA, --errors labels of each kind are injected at random: objects without a label,
labels of another class, boxes that are moved and resized to an IoU of 0.4 to 0.7, and labels where
nothing is labeled. The list has one row for each label and one for each object that the detector
sees and nobody has labeled, the most suspicious first. An error is found where its label is in the
list; a missing one, where a row without a label has an IoU of 0.5 with the object. Errors that the
data have of themselves are in the list, too, and count as right labels.

W must not have been trained on the split. With --folds, detectors are trained on the data with
errors; FOLDER keeps them, so that an interrupted benchmark goes on.
"""

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import machine

from centernet2.builders.data.label_check import suspect_labels
from centernet2.builders.data.label_folds import suspect_labels_in_folds
from centernet2.builders.detector.loading import load_for_inference
from centernet2.data import DetectionDataset, coco_content
from centernet2.data.check import LabelError
from centernet2.data.check.repair import annotation_ids
from centernet2.data.readers import load_dataset
from centernet2.data.readers.coco import ReadRecords, read_records
from centernet2.jobs.check import train_fold
from centernet2.ops.box_arrays import box_iou_matrix, xywh_to_xyxy
from centernet2.structures import FloatArray

SHARES = (0.05, 0.10, 0.15, 0.20)  # of the list
LOOSE_IOU = (0.4, 0.7)  # with the right box
FREE_IOU = 0.1  # largest IoU of a spurious label with others
FOUND_IOU = 0.5  # of a missing object with a row of the list
SHIFT, SCALE = 0.4, 0.5  # largest changes of a loose box: in sides, and of the logarithm of a side
Record = dict[str, Any]


class Injected(NamedTuple):
    """An error that was injected."""

    kind: str
    annotation: Record  # of the missing object, or of the wrong label


def inject(content: Record, count: int, seed: int) -> tuple[Record, list[Injected]]:
    """Return annotations in COCO's format with `count` errors of each kind, and these errors."""
    rng = np.random.default_rng(seed)
    annotations = [each for each in content["annotations"] if not each["iscrowd"]]
    chosen = [annotations[i] for i in rng.permutation(len(annotations))[: 3 * count].tolist()]
    missing, confused, loose = (chosen[k * count : (k + 1) * count] for k in range(3))
    changed = {each["id"]: with_other_class(each, content, rng) for each in confused}
    changed |= {each["id"]: with_loose_box(each, content, rng) for each in loose}
    spurious = [spurious_label(content, 1 + k, rng) for k in range(count)]
    left_out = {each["id"] for each in missing}
    kept = [each for each in content["annotations"] if each["id"] not in left_out]
    new = [changed.get(each["id"], each) for each in kept] + spurious
    errors = [Injected("missing", each) for each in missing]
    errors += [Injected("wrong class", changed[each["id"]]) for each in confused]
    errors += [Injected("loose box", changed[each["id"]]) for each in loose]
    errors += [Injected("spurious", each) for each in spurious]
    return {**content, "annotations": new}, errors


def with_other_class(annotation: Record, content: Record, rng: np.random.Generator) -> Record:
    ids = [each["id"] for each in content["categories"]]
    others = [each for each in ids if each != annotation["category_id"]]
    return {**annotation, "category_id": others[rng.integers(len(others))]}


def with_loose_box(annotation: Record, content: Record, rng: np.random.Generator) -> Record:
    """Move and resize a box, inside the image."""
    limits = size_of(content, annotation["image_id"])
    right = np.array([annotation["bbox"]], dtype=np.float64)
    while True:
        center = right[0, :2] + right[0, 2:] * (0.5 + rng.uniform(-SHIFT, SHIFT, 2))
        sides = right[0, 2:] * np.exp(rng.uniform(-SCALE, SCALE, 2))
        low, high = np.maximum(center - sides / 2, 0), np.minimum(center + sides / 2, limits)
        box = np.concatenate([low, high - low])[None]
        iou = iou_of(right, box).item()
        if (box[:, 2:] > 1).all() and LOOSE_IOU[0] <= iou <= LOOSE_IOU[1]:
            return {**annotation, "bbox": box[0].tolist()}


def spurious_label(content: Record, number: int, rng: np.random.Generator) -> Record:
    """Label a place where no label is, with the class and the size of another object."""
    annotations, images = content["annotations"], content["images"]
    while True:
        model = annotations[rng.integers(len(annotations))]
        image = images[rng.integers(len(images))]["id"]
        sides = np.array(model["bbox"][2:])
        low = rng.uniform(size=2) * (size_of(content, image) - sides)
        box = np.concatenate([low, sides])[None]
        others = [each["bbox"] for each in annotations if each["image_id"] == image]
        taken = iou_of(box, np.array(others).reshape(-1, 4)).max(initial=0)
        if (low >= 0).all() and taken <= FREE_IOU:
            free = max(each["id"] for each in annotations) + number
            return {**model, "id": free, "image_id": image, "bbox": box[0].tolist(), "iscrowd": 0}


def size_of(content: Record, image_id: object) -> FloatArray:
    """Return width and height of an image."""
    image = next(each for each in content["images"] if each["id"] == image_id)
    return np.array([image["width"], image["height"]], dtype=np.float64)


def iou_of(first: FloatArray, second: FloatArray) -> FloatArray:
    """IoU of boxes [A, 4] and [B, 4], both xywh."""
    return box_iou_matrix(xywh_to_xyxy(first), xywh_to_xyxy(second))


def places_of(
    errors: Sequence[Injected], rows: Sequence[LabelError], records: ReadRecords
) -> Iterator[int | None]:
    """Yield the row of the list, from 0, that each injected error is in; None: it is in none."""
    ids, dataset = annotation_ids(records), records.dataset
    places = {ids[each.row]: place for place, each in enumerate(rows) if each.row is not None}
    unlabeled: dict[object, list[tuple[int, LabelError]]] = {}
    for place, each in enumerate(rows):
        if each.row is None:
            unlabeled.setdefault(dataset.image_id(each.image), []).append((place, each))
    for kind, annotation in errors:
        if kind != "missing":
            yield places[annotation["id"]]
            continue
        box = xywh_to_xyxy(np.array([annotation["bbox"]], dtype=np.float64))
        found = unlabeled.get(annotation["image_id"], [])
        on_object = (k for k, e in found if box_iou_matrix(box, np.array([e.box])) >= FOUND_IOU)
        yield next(on_object, None)


def measure(options: argparse.Namespace, seed: int) -> Record:
    """Inject errors, rank all labels, and return the shares of the errors that are found."""
    original = load_dataset(data=Path(options.data), data_path=None, names=(), split=options.split)
    files = [os.path.abspath(original.image_path(i)) for i in range(len(original))]
    content, errors = inject(coco_content(original, files), options.errors, seed)
    records = read_records(content, Path("/"), name=options.split, masks=False)
    rows = sorted(suspect(options, records.dataset, seed), key=lambda each: -each.suspicion)
    places = list(places_of(errors, rows, records))
    found: dict[str, list[float]] = {}
    for kind in (*dict.fromkeys(each.kind for each in errors), "all"):
        own = [p for p, e in zip(places, errors, strict=True) if kind in (e.kind, "all")]
        hits = [[p is not None and p < share * len(rows) for p in own] for share in SHARES]
        found[kind] = [mean(each) for each in hits]
    kinds = [p is not None and rows[p].kind == e.kind for p, e in zip(places, errors, strict=True)]
    strict = SHARES[2] * len(records.dataset.labels)  # rows, if there were none of missing labels
    return {
        "benchmark": "wrong_labels",
        "data": f"{Path(options.data).name} {options.split}",
        "seed": seed,
        "errors of each kind": options.errors,
        "labels": len(records.dataset.labels),
        "rows": len(rows),
        "shares of the list": SHARES,
        "found": found,
        "found in rows of 15 % of the labels": mean(p is not None and p < strict for p in places),
        "named by their kind": mean(kinds),
        **machine(),
    }


def mean(values: Iterable[bool]) -> float:
    return round(float(np.mean([*values])), 3)


def suspect(options: argparse.Namespace, dataset: DetectionDataset, seed: int) -> list[LabelError]:
    """Return all rows of the list."""
    if not options.folds:
        model = load_for_inference(options.weights, device="cpu")
        return suspect_labels(model, dataset, split=options.split, owner=options.weights)
    train = partial(train_fold, minutes=options.minutes, device="cpu")
    folder = Path(options.output) / f"seed_{seed}"
    splits = {options.split: dataset}
    return suspect_labels_in_folds(splits, options.folds, folder, train, device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data")
    judge = parser.add_mutually_exclusive_group(required=True)
    judge.add_argument("--weights")
    judge.add_argument("--folds", type=int)
    parser.add_argument("--output", help="folder for the training runs of the folds")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--split", default="val")
    parser.add_argument("--errors", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if options.folds and not options.output:
        parser.error("--folds needs --output")
    for seed in options.seeds:
        print(json.dumps(measure(options, seed)), flush=True)


if __name__ == "__main__":
    main()
