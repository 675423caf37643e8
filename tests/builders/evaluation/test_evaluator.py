import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from centernet2.builders.data.class_matching import match_detector
from centernet2.builders.data.evaluation_data import find_validation_data
from centernet2.builders.detector.loading import config_of
from centernet2.builders.detector.network import build_augmented
from centernet2.builders.evaluation import evaluator
from centernet2.builders.evaluation.evaluator import detector_of, evaluate_predictions
from centernet2.data.readers.coco import load_coco
from centernet2.predict.predictor import Predictor
from tests.helpers.data import make_content, write_dataset
from tests.helpers.jobs import build_untrained


def test_fingerprint_depends_on_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume only with the same images, in the same order, and the same classes."""
    path = write_dataset(tmp_path, make_content(), "val")
    dataset = load_coco(path, tmp_path / "images", name="t")
    model = build_untrained(classes=2)
    monkeypatch.setattr(evaluator, "digest_of", lambda weights: "weights")
    others = [
        dataset,
        replace(dataset, image_ids=dataset.image_ids + 1),
        replace(dataset, heights=dataset.heights + 1),
        replace(dataset, class_names=("zebra", "ant")),
        dataset.subset(np.array([2, 1, 0])),
        dataset.subset(np.array([0, 1])),
    ]
    digests = {
        evaluator._fingerprint(
            model, match_detector(model, each), config_of(model.info), inspected=False
        )
        for each in others
    }
    assert len(digests) == len(others)


def test_detector_of_a_predictor() -> None:
    detector = build_untrained()
    augmented = build_augmented(config_of(detector.info), detector)
    for model in (detector, Predictor(detector), Predictor(augmented)):
        assert detector_of(model) is detector
    with pytest.raises(ValueError, match="a Linear cannot be evaluated; give a Detector"):
        detector_of(torch.nn.Linear(1, 1))


def test_data_without_an_object_are_refused_unless_detections_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = make_content()
    del content["annotations"]
    write_dataset(tmp_path, content, "val")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ValueError, match=r"instances_val\.json: no image has an object, .* no AP"):
        evaluate_predictions(tmp_path / "results.json", data=tmp_path)
    model = build_untrained(classes=2)
    find = partial(find_validation_data, tmp_path, None, config_of(model.info).datasets)
    with pytest.raises(ValueError, match="no image has an object"):
        find(masks=False)
    assert len(find(masks=False, unannotated=True)) == 3
    assert "no image has an object" in caplog.text


@pytest.mark.parametrize("name", ["voc_birds", "birds"])
def test_coco_folder_has_metrics_of_coco(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    write_dataset(folder, make_content(), "val")
    detection = {"image_id": 30, "category_id": 7, "bbox": [4, 6, 20, 10], "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([detection]))
    metrics = evaluate_predictions(tmp_path / "results.json", data=folder)
    assert metrics["bbox/AP/zebra"] == pytest.approx(100)
    assert not any(key.startswith("voc/") for key in metrics)
