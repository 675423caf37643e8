"""Pictures of suspected label errors, as `check` draws them."""

from pathlib import Path

import numpy as np
import pytest

from centernet2.data.check import LabelError
from centernet2.report import label_sheet
from centernet2.structures import Pixels
from tests.helpers.data import load_split
from tests.helpers.training import write_blocks


def test_object_at_an_edge_is_shown_in_a_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_split(write_blocks(tmp_path), "val")
    height, width = (int(sides[0]) for sides in (dataset.heights, dataset.widths))
    pictures: list[Pixels] = []

    def keep(shown: list[tuple[Pixels, str]], *_: object) -> list[Path]:
        pictures.extend(picture for picture, _ in shown)
        return []

    monkeypatch.setattr(label_sheet, "write_sheets", keep)
    side = min(height, width) // 4
    middle = height // 2
    at_edges = [(left, middle, left + side, middle + side) for left in (0, width - side)]
    errors = [LabelError("missing", 0.9, "a cat", "val", 0, None, 0, box) for box in at_edges]
    label_sheet.write_label_sheets(errors, {"val": dataset}, tmp_path)
    for picture in pictures:
        assert picture.shape[0] == picture.shape[1] >= 2 * side
    assert not np.array_equal(*pictures)
