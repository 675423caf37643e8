"""The columns of Parquet files of predictions."""

import re
from pathlib import Path

import numpy as np
import pyarrow
from hotcoco import mask as rle

from centernet2.predict.parquet_parts import ParquetParts, part_row, part_schema
from tests.helpers.predictions import left_half, make_prediction

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_page_states_the_schema() -> None:
    stated = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert stated == [(field.name, str(field.type)) for field in part_schema()]


def test_row_of_a_prediction_with_masks(tmp_path: Path) -> None:
    scores = np.array([0.9, 0.5, 0.25], np.float32)
    columns = {"masks": left_half(), "objectness": scores, "class_probability": scores}
    prediction = make_prediction(columns=columns)
    rows = pyarrow.Table.from_pylist([part_row(prediction)], schema=part_schema())
    with ParquetParts(tmp_path, {"--score-threshold": (0.5, 0.25)}) as parts:
        parts.add(rows)
    assert parts.images() == {"photos/scene.jpg"}
    (row,) = pyarrow.parquet.read_table(tmp_path / "part-00000.parquet").to_pylist()
    assert (row["height"], row["width"]) == (60, 80)
    assert row["boxes"] == prediction.boxes.tolist() and row["labels"] == [1, 0, 1]
    assert row["names"] == ["dog", "cat", "dog"]
    np.testing.assert_array_equal(np.array(row["objectness"], np.float32), scores)
    for text in row["masks"]:
        mask = rle.decode({"size": [60, 80], "counts": text})
        np.testing.assert_array_equal(np.asarray(mask, bool), left_half()[0])
