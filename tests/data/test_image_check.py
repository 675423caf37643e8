"""What is found out about image files before the first step, and by `check`."""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from centernet2.data import image_check
from centernet2.data.check.images import check_image_files, read_image_files
from centernet2.data.dataset import DetectionDataset
from centernet2.data.image_check import (
    MISSING_FILE,
    CheckedImage,
    check_before_training,
    decoded_facts,
    header_facts,
    image_findings,
)
from centernet2.images.image_files import ORIENTATION, ImageError, read_image
from tests.helpers.data import load_by_files

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(path: Path, mode: str = "RGB", **options: Any) -> Path:
    Image.fromarray(NOISE).convert(mode).save(path, **options)
    return path


def test_header_tells_what_decoding_would(tmp_path: Path) -> None:
    rotated = Image.Exif()
    rotated[ORIENTATION] = 6
    sixteen = Image.fromarray(np.full((20, 30), 3000, np.uint16))
    sixteen.save(tmp_path / "16.png")
    frames = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    files = [
        save(tmp_path / "plain.jpg"), save(tmp_path / "rotated.jpg", exif=rotated),
        save(tmp_path / "ink.jpg", "CMYK"), save(tmp_path / "palette.png", "P"),
        save(tmp_path / "plain.bmp"), save(tmp_path / "plain.tif"), tmp_path / "16.png",
        tmp_path / "moving.gif",
    ]  # fmt: skip
    for path in files:
        facts = header_facts(path)
        assert (facts.problem, facts.size) == ("", read_image(path).shape[:2]), path
        assert facts.is_rotated is (path.name == "rotated.jpg")


def test_dark_images_of_sixteen_bits_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((30, 40), 4095, np.uint16)).save(path)
    facts = decoded_facts(path, header_facts(path))
    found = image_findings("train", [CheckedImage("a.png", (30, 40), facts)], 1)
    (dark,) = [each for each in found if each.kind == "images of 16 bits that are nearly black"]
    assert (dark.total, dark.action) == (1, "keeps")
    assert "a.png: the image is nearly black" in dark.examples[0].text


def test_files_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    reasons = {
        "folder.png": "is a folder", "empty.png": "file is empty",
        "text.png": "not a readable image", "loop.png": "cannot be opened",
        "pipe.png": "not a regular file", "float.tif": "no defined range",
        "a\0b.png": "cannot be opened",
    }  # fmt: skip
    for name, reason in reasons.items():
        assert reason in header_facts(tmp_path / name).problem, name
    assert header_facts(tmp_path / "none.png").problem == MISSING_FILE
    assert header_facts(tmp_path / "text.png" / "a.png").problem == MISSING_FILE
    with pytest.raises(ImageError, match="no file can have this name"):
        read_image(tmp_path / "a\0b.png")


def test_check_and_train_find_the_same(
    annotations: Path, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "0.png").unlink()
    (images / "3.png").write_bytes(b"no image")
    save(images / "5.png")
    shutil.copy(images / "2.png", images / "6.png")
    Image.fromarray(np.full((20, 25), 4095, np.uint16)).save(images / "1.png")
    dataset = load_by_files(annotations, images)
    unusable = check_before_training(dataset, "val")
    assert np.flatnonzero(unusable).tolist() == [0, 3, 5, 6][: unusable.sum()]
    found = check_image_files(dataset, list(read_image_files(dataset)), "val")
    assert [each.kind for each in found if each.action == "note"] == [
        "images that are not 8-bit grayscale or RGB"
    ]
    findings = [each for each in found if each.action != "note"]
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(said) == len(findings) == 4
    for finding, text in zip(findings, said, strict=True):
        assert f"{finding.total} {finding.kind}: {finding.advice}" in text
        assert all(example.text in text for example in finding.examples)


@pytest.mark.parametrize(("split", "allowed"), [("train", 1), ("val", 10), ("all", 1)])
def test_share_that_is_refused(split: str, allowed: int) -> None:
    missing = [
        CheckedImage(f"{i}.png", (4, 4), image_check.ImageFacts(MISSING_FILE)) for i in range(20)
    ]
    actions = [image_findings(split, missing[:n], 20)[0].action for n in (allowed, allowed + 1)]
    assert actions == ["drops", "refuses"]


def test_too_many_are_refused_with_a_name(annotations: Path, images: Path) -> None:
    (images / "4.png").unlink()
    dataset = load_by_files(annotations, images)
    with pytest.raises(ValueError, match=r"1 missing images \(such as 4\.png\).*more than 5%"):
        check_before_training(dataset, "train")
    check_before_training(dataset, "val")
    for i in range(4):
        (images / f"{i}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"4 unreadable images .*0\.png.*more than half"):
        check_before_training(dataset, "val")


def test_sample_finds_truncated_images(
    annotations: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in images.iterdir():
        save(path, format="JPEG", quality=95)
        with Image.open(path) as file:
            file.resize((24 + int(path.stem), 20)).save(path, format="JPEG", quality=95)
    (images / "7.png").write_bytes((images / "7.png").read_bytes()[:700])
    assert not header_facts(images / "7.png").problem
    dataset = load_by_files(annotations, images)
    assert np.flatnonzero(check_before_training(dataset, "val")).tolist() == [7]
    monkeypatch.setattr(image_check, "DECODED_IMAGES", 2)  # the first and the last
    with pytest.raises(ValueError, match=r"1 unreadable images .*7\.png"):
        check_before_training(dataset, "train")


def test_slow_disk_delays_training_for_a_while_only(
    annotations: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(image_check.HEADER_SECONDS, "train", -1)
    with caplog.at_level(logging.INFO):
        check_before_training(load_by_files(annotations, images), "train")
    assert "checked 1 of 8 images by their headers and 8 by decoding" in caplog.text
    assert "the others are checked when they are read" in caplog.text


def test_no_header_is_read_beside_the_sample(
    annotations: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of headers that is out of time leaves the disk to those who decode."""
    read: list[str] = []

    def header(dataset: DetectionDataset, index: int) -> None:
        time.sleep(0.02)
        read.append("header")

    def decoded(dataset: DetectionDataset, notable: object, index: int) -> CheckedImage:
        time.sleep(0.02)
        read.append("decoded")
        return CheckedImage("", (1, 1), image_check.ImageFacts("", (1, 1)))

    monkeypatch.setattr(image_check, "_check_header", header)
    monkeypatch.setattr(image_check, "_check_decoded", decoded)
    monkeypatch.setattr(image_check, "IMAGES_PER_TASK", 1)
    monkeypatch.setattr(image_check, "THREADS", 1)
    monkeypatch.setitem(image_check.HEADER_SECONDS, "train", -1)
    check_before_training(load_by_files(annotations, images), "train")
    assert "header" not in read[read.index("decoded") :]
    assert read.count("decoded") == 8


def test_images_in_shards_are_sampled(
    annotations: Path, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = load_by_files(annotations, shards)
    with caplog.at_level(logging.INFO):
        assert not check_before_training(dataset, "train").any()
    assert "checked 0 of 8 images by their headers and 8 by decoding" in caplog.text
