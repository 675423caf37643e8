"""Images and boxes that a file lists several times."""

import numpy as np
import pytest

from centernet2.data.findings import FindingLog
from centernet2.data.readers.annotation_records import BoxColumns
from centernet2.data.readers.json_records import RecordTable
from centernet2.data.readers.repetitions import repeated_boxes


@pytest.mark.parametrize("seed", range(5))
def test_repeated_boxes_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 300
    image, labels = np.sort(rng.integers(0, 4, count)), rng.integers(0, 2, count)
    xywh = rng.choice([-0.0, 0.0, 0.5, 1e300], (count, 4), p=[0.1, 0.2, 0.4, 0.3])
    table = RecordTable("annotation", {}, "annotations", FindingLog("train"))
    rows, ones = np.arange(count), np.ones(count)
    boxes = BoxColumns(table, rows, image, xywh, labels, ones, ones > 1)
    seen, repeated = set(), []
    for row in range(count):
        box = (image[row], labels[row], *xywh[row].tolist())
        repeated += [row] if box in seen else []
        seen.add(box)
    assert repeated_boxes(boxes, image) == repeated and len(repeated) > 50
