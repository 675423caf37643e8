import json
from pathlib import Path

import pytest

from centernet2.builders.evaluator import evaluate_predictions
from tests.helpers.data import make_content, write_dataset


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
