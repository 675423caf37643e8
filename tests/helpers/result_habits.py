"""Results files as other tools write them: perfect detections, and the habits of these tools."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hotcoco import mask as rle

from tests.helpers.coco_habits import coco_content
from tests.helpers.random_truth import Truth

Detection = dict[str, Any]
Habit = Callable[[list[Detection], dict[str, Any], Random], None]
ENCODINGS = ("utf-8-sig", "utf-16", "utf-8")


def write_truth_and_results(truth: Truth, root: Path, habits: list[str], rng: Random) -> None:
    """Write truth.json, and found.json with each of its objects as a detection."""
    content = coco_content(truth.classes, truth.splits["val"], ".png")
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    sizes = {each["id"]: (each["height"], each["width"]) for each in content["images"]}
    found = [
        {"image_id": each["image_id"], "category_id": each["category_id"],
         "bbox": [float(number) for number in each["bbox"]],
         "score": round(0.5 + 0.4 * rng.random(), 3)}
        for each in content["annotations"]
    ]  # fmt: skip
    if any(habit.startswith("mask") for habit in habits):
        for each in found:
            each["segmentation"] = _run_lengths(each["bbox"], sizes[each["image_id"]])
    for habit in habits:
        RESULT_HABITS[habit](found, content, rng)
    root.mkdir(parents=True)
    (root / "truth.json").write_text(json.dumps(content), encoding="utf-8")
    text = _text(found, habits, rng)
    encoding = rng.choice(ENCODINGS) if "encoding" in habits else "utf-8"
    (root / "found.json").write_bytes(text.encode(encoding))


def _text(found: list[Detection], habits: list[str], rng: Random) -> str:
    if "wrapped" in habits:
        return json.dumps({rng.choice(("annotations", "predictions", "results")): found})
    if "lines" in habits:
        return "".join(f"{json.dumps(each)}\n" for each in found)
    return json.dumps(found, indent=rng.choice((None, 2)))


def _run_lengths(box: list[float], size: tuple[int, int]) -> dict[str, Any]:
    x, y, w, h = map(int, box)
    pixels = np.zeros(size, dtype=np.uint8)
    pixels[y : y + h, x : x + w] = 1
    return {"size": list(size), "counts": rle.encode(np.asfortranarray(pixels))["counts"].decode()}


def _nothing(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    """For habits of the file, not of the detections."""


def _image_ids(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    file_names = {each["id"]: each["file_name"] for each in content["images"]}
    new = rng.choice((
        str, float, file_names.__getitem__, lambda i: file_names[i].rpartition(".")[0],
    ))  # fmt: skip
    for each in found:
        each["image_id"] = new(each["image_id"])


def _truth_ids(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    shift = rng.choice((-50, 2**53 + 1, 2**63, 10**6))
    for each in (*content["images"],):
        each["id"] += shift
    for each in (*content["annotations"], *found):
        if isinstance(each["image_id"], int):
            each["image_id"] += shift


def _categories(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    names = {each["id"]: each["name"] for each in content["categories"]}
    form = rng.randrange(3)
    for each in found:
        number = each["category_id"]
        if form == 0:
            each["category_id"] = str(number)
        elif form == 1:
            each["category_id"] = float(number)
        else:
            each["category_name"] = names[number]
            del each["category_id"]


def _numbers_as_text(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    for each in found:
        each["score"] = str(each["score"])
        each["bbox"] = [str(number) for number in each.get("bbox", [])]


def _bad_score(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    each = rng.choice(found)
    each["score"] = rng.choice((None, float("nan"), "high", [0.5], 30, -1, True))


def _no_score(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    del rng.choice(found)["score"]


def _bad_box(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    each = rng.choice(found)
    each["bbox"] = rng.choice((None, [], [1, 2, 3], [1, 2, float("nan"), 4], "abc", {}))


def _unknown(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    other = {**found[0], **rng.choice(({"image_id": 10**12}, {"category_id": 10**12}))}
    if other["image_id"] == found[0]["image_id"]:
        other.pop("category_name", None)  # a known name would tell the class
    found.append(other)


def _more_keys(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    for k, each in enumerate(found):
        each |= {"id": k, "area": None, "iscrowd": 0, "file_name": "x.png", "logits": [1]}
        if rng.random() < 0.5:
            each["segmentation"] = each.get("segmentation", [])


def _shuffled(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    rng.shuffle(found)


def _mask_forms(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    for each in found:
        form = rng.randrange(3)
        x, y, w, h = map(float, each["bbox"])
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        if form == 0:
            each["segmentation"] = [polygon]
        elif form == 1 and isinstance(each.get("segmentation"), dict):
            counts = _counts(each["segmentation"])
            each["segmentation"] = {"size": each["segmentation"]["size"], "counts": counts}


def _counts(mask: dict[str, Any]) -> list[int]:
    flat = rle.decode(mask).flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return np.diff(np.concatenate([[0], edges])).astype(int).tolist()


def _mask_missing(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    rng.choice(found).pop("segmentation", None)


def _mask_alone(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    for each in found:
        if "segmentation" in each:
            del each["bbox"]


def _mask_size(found: list[Detection], content: dict[str, Any], rng: Random) -> None:
    mask = rng.choice(found).get("segmentation")
    if isinstance(mask, dict):
        mask["size"] = [mask["size"][0] + 1, mask["size"][1]]


# masks are deformed before the boxes that they are made of
RESULT_HABITS: dict[str, Habit] = {
    "encoding": _nothing, "wrapped": _nothing, "lines": _nothing, "masks": _nothing,
    "mask_forms": _mask_forms, "mask_missing": _mask_missing, "mask_size": _mask_size,
    "mask_alone": _mask_alone, "truth_ids": _truth_ids, "image_ids": _image_ids,
    "categories": _categories, "numbers_as_text": _numbers_as_text, "bad_score": _bad_score,
    "no_score": _no_score, "bad_box": _bad_box, "unknown": _unknown, "more_keys": _more_keys,
    "shuffled": _shuffled,
}  # fmt: skip
