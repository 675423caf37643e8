"""The analysis of an evaluation of random detections."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from centernet2.data.dataset import BOX_COLUMNS
from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.coco_metrics import coco_metrics
from tests.helpers.evaluation import random_analysis, random_evaluation, stage_records


def test_analysis_is_json_and_adds_up(tmp_path: Path) -> None:
    dataset, _, analysis = random_analysis(tmp_path)
    assert json.loads(json.dumps(analysis, allow_nan=False))
    matrix = np.array(analysis["confusion"]["matrix"])
    assert matrix[:-1].sum() == (~dataset.crowd).sum() == analysis["objects"]
    examples = analysis["examples"]
    assert [len(examples[kind]) for kind in ("false", "missed", "confused")] == [12] * 3
    for example in examples["false"] + examples["confused"]:
        assert example["score"] >= analysis["best"]["threshold"]
    assert all(each["object"] != each["class"] for each in examples["confused"])
    assert analysis["first_stage"][100]["R50"] == 50
    calibration = {each["name"]: each for each in analysis["calibration"]}
    assert list(calibration) == ["first stage", "second stage", "product", "score"]
    errors = [calibration[name]["error"] for name in ("product", "score")]
    assert errors[0] == pytest.approx(errors[1], abs=0.01)  # the product is the score here


def test_analysis_without_objects_is_json(tmp_path: Path) -> None:
    dataset, results = random_evaluation(tmp_path)
    columns = {name: getattr(dataset, name)[:0] for name in BOX_COLUMNS}
    dataset = replace(dataset, offsets=np.zeros_like(dataset.offsets), **columns)
    stages = [
        {**each, "recall": {count: [] for count in each["recall"]}}
        for each in stage_records(dataset, results)
    ]
    analysis = analyze(dataset, results, coco_metrics(dataset, results), stages)
    assert json.loads(json.dumps(analysis, allow_nan=False))["objects"] == 0
    assert analysis["first_stage"] is None and analysis["best"] is None
