from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centernet2.report import sheets
from centernet2.report.sheets import write_sheets


def picture(value: int) -> np.ndarray:
    return np.full((20, 30, 3), value, np.uint8)


def test_pictures_fill_numbered_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "PER_SHEET", 3)
    monkeypatch.setattr(sheets, "MOST_PICTURES", 7)
    pictures = [(picture(i), f"number {i}") for i in range(9)]
    paths = write_sheets(pictures, tmp_path, "labels")
    assert [path.name for path in paths] == ["labels_1.jpg", "labels_2.jpg", "labels_3.jpg"]
    widths = [Image.open(path).width for path in paths]
    assert widths[0] == widths[1] > 2 * widths[2]  # three, three and one


def test_sheets_of_an_earlier_command_are_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "labels_9.jpg"
    Image.fromarray(picture(9)).save(foreign)
    write_sheets([(picture(i), "") for i in range(41)], tmp_path, "labels")
    assert write_sheets([(picture(1), "")], tmp_path, "labels") == [tmp_path / "labels_1.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels_1.jpg", "labels_9.jpg"]
    assert write_sheets([], tmp_path, "labels") == []
    assert [*tmp_path.iterdir()] == [foreign]
