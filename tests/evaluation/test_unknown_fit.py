"""From when an object is of none of the classes, as fitted on annotated images."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from centernet2.evaluation.unknown_fit import LOST_SHARE, unknown_record, with_unknown
from centernet2.structures import Detections, ScoreCalibration, UnknownObjects
from tests.helpers.data import load_split
from tests.helpers.training import write_blocks

PLAIN = ScoreCalibration((1.0, 1.0), (0.0, 0.0))


def test_at_most_a_share_of_known_objects_is_lost() -> None:
    rng = np.random.default_rng(0)
    count = 200
    novelty, scores = rng.random(count), rng.uniform(0.5, 1, count)
    found = rng.random(count) < 0.8
    record = {
        "novelty": [*novelty, *rng.random(50)],
        "object_score": [*scores, *rng.uniform(0, 0.4, 50)],  # the background
        "on_object": [True] * count + [False] * 50,
        "found": [*found.tolist(), *[False] * 50],
    }
    fitted = with_unknown(PLAIN, [{"unknown": record}], count)
    assert fitted.unknown_from is not None
    least, objectness = fitted.unknown_from
    assert 0.4 < objectness <= scores.min() + 1e-6
    lost = (novelty[found] >= least).mean()
    assert LOST_SHARE - 0.02 < lost <= LOST_SHARE
    nothing = {**record, "found": [False] * 250}
    fitted = with_unknown(PLAIN, [{"unknown": nothing}], count)
    assert fitted.unknown_from == (0.0, objectness)
    assert with_unknown(PLAIN, [], 0).unknown_from is None


def test_record_tells_found_objects_from_others(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    truth = load_split(data, "val")
    boxes, scores = torch.from_numpy(truth.boxes(slice(0, 1))), torch.tensor([0.9])
    unknown = UnknownObjects(boxes, scores, scores, torch.tensor([0]))

    def record(boxes: Tensor, *labels: int) -> dict[str, list[bool]]:
        found: Detections = {
            "boxes": boxes.expand(len(labels), 4),
            "scores": torch.linspace(0.9, 0.5, len(labels)),
            "labels": torch.tensor(labels),
        }
        columns: dict[str, list[bool]] = unknown_record(unknown, boxes, found, truth, 0)["unknown"]
        return {name: columns[name] for name in ("on_object", "found")}

    assert record(boxes, 0, 1) == {"on_object": [True], "found": [True]}
    assert record(boxes, 1, 0) == {"on_object": [True], "found": [False]}  # the best is wrong
    assert record(boxes) == {"on_object": [True], "found": [False]}
    assert record(boxes + 100, 0) == {"on_object": [False], "found": [False]}
