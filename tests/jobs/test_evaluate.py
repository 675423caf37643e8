"""Evaluation of a detector, a checkpoint or a results file."""

import json
from pathlib import Path

import pytest

import centernet2
from centernet2.jobs import InferenceOptions
from tests.helpers.jobs import build_untrained, save_untrained
from tests.helpers.training import write_blocks

CPU = InferenceOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of one class, and a checkpoint of an untrained detector for it."""
    folder = write_blocks(tmp_path_factory.mktemp("evaluate"))
    save_untrained(folder / "model.pth", ("block",))
    return folder


@pytest.mark.parametrize(
    "overrides",
    [[], ["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(64, 96)"]],
    ids=["plain", "augmented"],
)
def test_detector_and_checkpoint_give_equal_detections(
    folder: Path, tmp_path: Path, overrides: list[str]
) -> None:
    detector = build_untrained(classes=1)
    centernet2.evaluate(detector, *overrides, data=folder, output_dir=tmp_path / "detector")
    centernet2.evaluate(
        folder / "model.pth", *overrides, data=folder, output_dir=tmp_path / "file", inference=CPU
    )
    one, other = (
        json.loads((tmp_path / name / "predictions.json").read_text())
        for name in ("detector", "file")
    )
    assert [each["score"] for each in one] == pytest.approx(
        [each["score"] for each in other], abs=1e-4
    )
    assert len(one) > 0


def test_predictions_give_equal_metrics(folder: Path, tmp_path: Path) -> None:
    metrics = centernet2.evaluate(
        folder / "model.pth", data=folder, output_dir=tmp_path, inference=CPU
    )
    again = centernet2.evaluate(predictions=tmp_path / "predictions.json", data=folder)
    assert again == pytest.approx(metrics, abs=1e-6, nan_ok=True)


def test_exactly_one_source_is_required(folder: Path) -> None:
    with pytest.raises(ValueError, match="give either --weights"):
        centernet2.evaluate(data=folder)
    with pytest.raises(ValueError, match="give either --weights"):
        centernet2.evaluate(folder / "model.pth", predictions="a.json", data=folder)
