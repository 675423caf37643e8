"""What is refused before a detector is traced, and files that appear together or not at all."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from torch import Tensor

from centernet2.export import exporting
from centernet2.export.certificate import drawn_images
from centernet2.export.exporting import export_detector
from centernet2.files import open_atomic
from tests.helpers.exported import build_two_levels

NAMES = ("model.xml", "model.bin", "model.xml.certificate.json", "model.xml.reference.npz")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(("images", "words"), [
    ([], "finds nothing .* to compare; they are drawn, as no others are given: .* photos/"),
    (drawn_images()[:1], "finds nothing in the 3 images .* to compare; name images .*"),
])  # fmt: skip
def test_detector_that_detects_nothing_cannot_be_compared(
    images: list[Tensor], words: str, tmp_path: Path
) -> None:
    detector = build_two_levels("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "1.0")
    with pytest.raises(ValueError, match=words):
        export_detector(detector, tmp_path / "model.onnx", images=images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", NAMES)
def test_files_appear_together_or_not_at_all(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in NAMES:
        (source / name).write_text(name)
    exporting._publish(source / NAMES[0], target / NAMES[0])
    assert contents(target) == {name: name for name in NAMES}

    @contextmanager
    def open_on_full_disk(path: Path) -> Iterator[BinaryIO]:
        with open_atomic(path) as file:
            if path.name == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield file

    monkeypatch.setattr(exporting, "open_atomic", open_on_full_disk)
    for name in NAMES:
        (source / name).write_text("new")
    with pytest.raises(OSError, match="No space left"):
        exporting._publish(source / NAMES[0], target / NAMES[0])
    assert contents(target) == {name: name for name in NAMES}
