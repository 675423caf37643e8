"""Data sets of any tool are read right, repaired with a count, or refused by name.

One random truth is written with the habits of annotation tools, and read back. `centernet2 check`
and the loading of a training run must agree about it. CENTERNET2_EXAMPLES sets the number of
examples of each layout; without it the examples are few, and the same in every run.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centernet2.data import (
    DetectionDataset,
    check_before_training,
    require_ground_truth,
    require_objects,
)
from centernet2.data.check import Examination, examine_dataset
from centernet2.data.readers.splits import SplitName
from tests.helpers.coco_habits import COCO_HABITS, write_coco_truth
from tests.helpers.data import load_split
from tests.helpers.random_truth import Truth, differences, objects_read, random_truth
from tests.helpers.strangers import (
    MOST_HABITS,
    Warnings,
    assert_one_sentence_with_a_file,
    example_settings,
)
from tests.helpers.voc_habits import VOC_HABITS, write_voc_truth
from tests.helpers.yolo_habits import YOLO_HABITS, write_yolo_truth

Writer = Callable[[Truth, Path, list[str], Random], None]
LAYOUTS: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "coco": (write_coco_truth, tuple(COCO_HABITS)),
    "yolo": (write_yolo_truth, YOLO_HABITS),
    "voc": (write_voc_truth, VOC_HABITS),
}
SPLITS: tuple[SplitName, ...] = ("train", "val")


@contextmanager
def written(layout: str, habits: list[str], seed: int) -> Iterator[tuple[Truth, Path]]:
    """Write a random truth into a temporary folder."""
    rng = Random(seed)
    truth = random_truth(rng)
    root = Path(tempfile.mkdtemp())
    try:
        LAYOUTS[layout][0](truth, root / "data", habits, rng)
        yield truth, root / "data"
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_objects_are_right_counted_or_refused(layout: str) -> None:
    writer_habits = LAYOUTS[layout][1]
    habit_lists = st.lists(st.sampled_from(writer_habits), max_size=MOST_HABITS, unique=True)

    @example_settings(50)
    @given(habits=habit_lists, seed=st.integers(0, 2**32 - 1))
    def holds(habits: list[str], seed: int) -> None:
        with written(layout, habits, seed) as (truth, root):
            assert_right_counted_or_refused(truth, root, habits)

    holds()


def assert_right_counted_or_refused(truth: Truth, root: Path, habits: list[str]) -> None:
    examination, complaint = examined(root)
    findings = [] if examination is None else examination.findings
    refused = complaint or [each for each in findings if each.action == "refuses"]
    with Warnings() as warnings:
        try:
            loaded = {split: load(root, split) for split in SPLITS}
        except (ValueError, FileNotFoundError) as error:
            assert_one_sentence_with_a_file(str(error), root)
            assert refused, f"check accepts what loading refuses: {error}"
            return
    assert not refused, f"loading accepts what check refuses: {refused}"
    for split, dataset in loaded.items():
        found, doubled = objects_read(dataset), "two_boxes" in habits
        missing, invented = differences(truth.splits[split], found, doubled=doubled)
        assert not invented, f"{split}: read, but not there: {invented}"
        changes = [each for each in findings if each.action in ("drops", "repairs")]
        counted = sum(each.total for each in changes if each.split == split)
        assert missing <= counted, f"{split}: {missing} objects missing, check counts {counted}"
        assert not missing or warnings.lines, f"{split}: {missing} objects missing, no warning"


def load(root: Path, split: SplitName) -> DetectionDataset:
    """Load and check a split as training does before its first step; leave out unusable images."""
    dataset = load_split(root, split)
    if split == "train":
        require_objects(dataset)
    else:
        require_ground_truth(dataset)
    return dataset.subset(np.flatnonzero(~check_before_training(dataset, split)))


def examined(root: Path) -> tuple[Examination | None, str]:
    """Examine a data set; return why it cannot be, otherwise."""
    try:
        return examine_dataset(root), ""
    except (ValueError, FileNotFoundError) as error:
        assert_one_sentence_with_a_file(str(error), root)
        return None, str(error)
