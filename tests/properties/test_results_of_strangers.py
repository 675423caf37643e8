"""Results files of any tool are read right, counted or refused by name.

Perfect detections are written with the habits of other tools: whatever is accepted without a
warning has an AP of 100, of boxes and of the masks that the file holds.
"""

import math
import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from centernet2.builders.evaluation.evaluator import evaluate_predictions
from tests.helpers.random_truth import random_truth
from tests.helpers.result_habits import RESULT_HABITS, write_truth_and_results
from tests.helpers.strangers import (
    MOST_HABITS,
    Warnings,
    assert_one_sentence_with_a_file,
    example_settings,
)

ORDER = list(RESULT_HABITS)  # masks are deformed before boxes are removed
HABITS = st.lists(st.sampled_from(ORDER), max_size=MOST_HABITS, unique=True)


@example_settings(50)
@given(habits=HABITS, seed=st.integers(0, 2**32 - 1))
def test_perfect_results_are_perfect_counted_or_refused(habits: list[str], seed: int) -> None:
    habits.sort(key=ORDER.index)
    rng = Random(seed)
    root = Path(tempfile.mkdtemp())
    try:
        write_truth_and_results(random_truth(rng), root / "x", habits, rng)
        assert_perfect_counted_or_refused(root / "x")
    finally:
        shutil.rmtree(root)


def assert_perfect_counted_or_refused(root: Path) -> None:
    with Warnings() as warnings:
        try:
            metrics = evaluate_predictions(root / "found.json", data=root / "truth.json")
        except (ValueError, FileNotFoundError) as error:
            assert_one_sentence_with_a_file(str(error), root)
            return
    has_masks = b"segmentation" in (root / "found.json").read_bytes().replace(b"\0", b"")  # UTF-16
    kinds = ["bbox", "segm"] if has_masks else ["bbox"]
    for kind in kinds:
        value = metrics.get(f"{kind}/AP", math.nan)
        assert abs(value - 100) < 0.01 or warnings.lines, f"{kind}/AP is {value}, without a word"
