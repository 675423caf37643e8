"""The page of the demo's training run."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from demo.training_page import write_training_page
from tests.helpers.evaluation import checked_page


@pytest.mark.parametrize("missing", [math.nan, None])
def test_page_of_a_training_run(tmp_path: Path, missing: float | None) -> None:
    steps = [
        {"iteration": i, "loss": 5 / i, "lr": 2.31e-7 * i, "images_per_second": None}
        for i in range(1, 5)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps)))
    write_training_page(
        tmp_path / "report.html", title="digits", summary={"AP50": 12.3},
        metrics_jsonl=tmp_path / "metrics.jsonl",
        evaluation={"bbox/AP": 10.0, "bbox/APl": missing, "bbox/AP/cat": 20.0,
                    "bbox/AP/dog": missing},
        pictures=[("one", np.zeros((20, 30, 3), np.uint8))],
    )  # fmt: skip
    text = checked_page(tmp_path / "report.html")
    assert "dog" in text and "&ndash;" in text
    assert ">2.31e-7</text>" in text  # short enough to stand beside the axis
