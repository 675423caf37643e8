"""Masks in any of COCO's forms are drawn right, counted or refused by name.

Every object is a rectangle, which its mask fills. A mask that cannot be read is a finding, and
training leaves the object out or refuses the data.
"""

import json
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hotcoco import mask as rle
from hypothesis import given
from hypothesis import strategies as st

from centernet2.data.check import examine_dataset
from centernet2.data.dataset import require_masks
from tests.helpers.coco_habits import write_plain_coco
from tests.helpers.data import load_split
from tests.helpers.random_truth import Box, Truth, random_truth
from tests.helpers.strangers import Warnings, assert_one_sentence_with_a_file, example_settings

FORMS = (
    "polygon", "flat", "text", "two_parts", "closed", "run_lengths", "counts", "float_size",
    "bitmap", "short_part", "odd_part", "none", "empty", "other_size", "no_pixel", "words", "nan",
)  # fmt: skip
READABLE = FORMS[:9]
PIXELS = 2  # by which the area of a drawn polygon may differ, per pixel of its border


def segmentation(form: str, box: Box, size: tuple[int, int]) -> Any:
    """Return the mask of a rectangle in one form."""
    x, y, w, h = map(int, box)
    points: list[Any] = [x, y, x + w, y, x + w, y + h, x, y + h]
    pixels = np.zeros(size, dtype=np.uint8)
    pixels[y : y + h, x : x + w] = 1
    packed = rle.encode(np.asfortranarray(pixels))
    text = packed["counts"].decode()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels.flatten(order="F"), [2]])))
    half = w // 2
    forms: dict[str, Any] = {
        "polygon": [points],
        "flat": points,
        "text": [[str(number) for number in points]],
        "two_parts": [
            [x, y, x + half, y, x + half, y + h, x, y + h],
            [x + half, y, x + w, y, x + w, y + h, x + half, y + h],
        ],
        "closed": [[*points, x, y]],
        "run_lengths": {"size": list(size), "counts": text},
        "counts": {"size": list(size), "counts": np.diff([0, *edges]).tolist()},
        "float_size": {"size": [float(side) for side in size], "counts": text},
        "bitmap": pixels.tolist(),
        "short_part": [points, [1, 1, 9, 9]],
        "odd_part": [points, [1, 1, 9, 1, 9, 9, 1]],
        "empty": [],
        "other_size": {"size": [size[0] + 1, size[1]], "counts": text},
        "no_pixel": {"size": list(size), "counts": [size[0] * size[1]]},
        "words": [["a", 1, 9, 1, 9, 9]],
        "nan": [[float("nan"), 1, 9, 1, 9, 9]],
    }
    return forms.get(form)


@example_settings(40)
@given(forms=st.lists(st.sampled_from(FORMS), min_size=1, max_size=3), seed=st.integers(0, 10**6))
def test_masks_are_right_counted_or_refused(forms: list[str], seed: int) -> None:
    rng = Random(seed)
    truth = random_truth(rng)
    written: set[str] = set()
    root = Path(tempfile.mkdtemp())

    def any_segmentation(box: Box, size: tuple[int, int]) -> Any:
        form = rng.choice(forms)
        written.add(form)
        return segmentation(form, box, size)

    try:
        write_plain_coco(truth, root / "data", any_segmentation)
        assert_masks(truth, root / "data", written)
    finally:
        shutil.rmtree(root)


def has_masks(root: Path) -> bool:
    """Whether an object to train on has a segmentation of any kind."""
    path = root / "annotations" / "instances_train2017.json"
    return any(each["segmentation"] for each in json.loads(path.read_text())["annotations"])


def assert_masks(truth: Truth, root: Path, forms: set[str]) -> None:
    findings = examine_dataset(root).findings
    with Warnings() as warnings:
        try:
            dataset = load_split(root, "train", masks=True)
            require_masks(dataset)
        except ValueError as error:
            assert_one_sentence_with_a_file(str(error), root)
            said = [each for each in findings if "mask" in f"{each.kind} {each.advice}"]
            assert said or not has_masks(root), "check does not speak of masks"
            return
    stems = {image.stem: image for image in truth.splits["train"]}
    drawn = 0
    for i in range(len(dataset)):
        target, image = dataset.target(i), stems[dataset.image_path(i).stem]
        boxes = {tuple(map(int, (x, y, x + w, y + h))) for _, (x, y, w, h) in image.objects}
        assert {tuple(map(int, box)) for box in target["boxes"].tolist()} <= boxes
        first, end = dataset.offsets[i : i + 2]
        rows = first + np.flatnonzero(dataset.is_target(slice(first, end)))
        assert dataset.masks is not None
        for row, (x1, y1, x2, y2) in zip(rows.tolist(), target["boxes"].tolist(), strict=True):
            mask = dataset.masks.bitmap(row, dataset.size(i)).numpy()
            x, y, right, bottom = map(int, (x1, y1, x2, y2))
            border = 2 * (right - x + bottom - y)
            assert abs(mask.sum() - (right - x) * (bottom - y)) <= PIXELS * border
            assert mask[y : bottom + 1, x : right + 1].sum() == mask.sum()
            drawn += 1
    missing = sum(len(image.objects) for image in stems.values()) - drawn
    assert not missing or warnings.lines, f"{missing} objects without mask, and no warning"
    assert not missing or not forms <= set(READABLE), f"{missing} objects lost of {forms}"
