"""Explanations by the record of an exported file are those of its checkpoint."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import centernet2
from centernet2.builders.service import serving
from centernet2.builders.service.serving import load_served
from centernet2.export.certificate import drawn_images
from centernet2.jobs.explain import explain
from centernet2.models.explain import Explanation
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.prediction import NotCarriedError

pytestmark = pytest.mark.slow  # the file is traced
IMAGE = (
    drawn_images()[0][:, :96, :128].permute(1, 2, 0).numpy()
)  # of SIZE of the file, if it has one
POINTS = [(30, 20), (64.5, 48), (127, 95), (3, 90)]


def flat(value: Any) -> list[Any]:
    """List the numbers and texts of nested records."""
    if isinstance(value, dict):
        return [each for own in value.values() for each in flat(own)]
    if isinstance(value, list | tuple):
        return [each for own in value for each in flat(own)]
    return [value]


def assert_close(found: Explanation, wanted: Explanation) -> None:
    ours, theirs = flat(asdict(found)), flat(asdict(wanted))
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        if isinstance(other, float):
            assert own == pytest.approx(other, abs=0.01, rel=1e-3)
        else:
            assert own == other


def test_service_explains_file_with_record(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = load_served([exported], batch_size=1)
    assert model.unexplained is None
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    assert load_served([exported], batch_size=1)[0].unexplained == "no torch"
    monkeypatch.setattr(
        ExportedDetector, "has_record", property(lambda self: False, no_set), raising=False
    )
    assert load_served([exported], batch_size=1)[0].unexplained == "no record"


@pytest.mark.parametrize("change", [
    {"rules": [1]}, {"rules": {"strides": [8, 16]}}, {"rules": 3}, {"test_size": {"width": 800}}
])  # fmt: skip
def test_changed_rules_are_named(
    exported: Path, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ExportedDetector(exported)
    monkeypatch.setattr(detector.model, "metadata", {**detector.model.metadata, **change})
    with pytest.raises(ValueError, match=r"the rules in the metadata of .* were changed; export"):
        detector.record(np.zeros((60, 80, 3), np.uint8))


def no_set(detector: ExportedDetector, value: bool) -> None:
    """Ignore what the file says."""


def test_explanations_are_those_of_the_checkpoint(exported: Path) -> None:
    checkpoint = centernet2.load_predictor(exported.with_name("model.pth"), device="cpu")
    file = centernet2.load_predictor(exported)
    proposals = 0
    for point in POINTS:
        found, wanted = (each.explain(IMAGE, *point) for each in (file, checkpoint))
        assert_close(found.record, wanted.record)
        assert found.level_names == wanted.level_names == ["p3", "p4"]
        proposals += len(found.record.proposals)
    assert proposals > 0
    assert file(IMAGE).explain(*POINTS[0]).record == file.explain(IMAGE, *POINTS[0]).record


def test_predictions_carry_proposals_and_both_probabilities(exported: Path) -> None:
    checkpoint = centernet2.load_predictor(exported.with_name("model.pth"), device="cpu")
    found, wanted = centernet2.load_predictor(exported)(IMAGE), checkpoint(IMAGE)
    assert len(found) == len(wanted) > 0
    for name in ("proposals", "objectness", "class_probability"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=0.01)


def test_file_without_record_names_the_option(exported: Path, tmp_path: Path) -> None:
    predictor = centernet2.load_predictor(exported)
    del predictor.model.model.metadata["rules"]
    with pytest.raises(ValueError, match=r"model\.onnx returns its detections alone; .*--record"):
        predictor.explain(IMAGE, 1, 1)
    prediction = predictor(IMAGE)
    columns = {name: own for name, own in prediction.columns.items() if name != "proposals"}
    bare = centernet2.Prediction(
        prediction.boxes, prediction.scores, prediction.labels, prediction.size,
        columns=columns, missing=prediction.missing,
    )  # fmt: skip
    with pytest.raises(NotCarriedError, match=r"carries no proposals: .*--record"):
        _ = bare.proposals
    with pytest.raises(NotCarriedError, match="use the checkpoint"):
        _ = bare.embeddings


def test_command(exported: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    explanation = explain(tmp_path / "a.png", at="30,20", weights=exported, output=tmp_path / "out")
    assert "heat map at the point" in explanation.text()
    assert (tmp_path / "out" / "explanation.png").is_file()
