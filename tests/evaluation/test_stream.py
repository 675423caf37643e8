"""The stream of detections: what identifies it, and when that is computed."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import centernet2
from centernet2.builders.data.evaluation_data import find_validation_data
from centernet2.builders.evaluation import evaluator
from centernet2.evaluation import stream
from centernet2.evaluation.stream import ImageResult, ResultStream
from tests.helpers.evaluation import SMALL_INPUT, write_noise_data


def test_stream_without_fingerprint_is_never_resumed(tmp_path: Path) -> None:
    ResultStream(tmp_path).close(complete=False)
    with pytest.raises(ValueError, match="written with other weights"):
        ResultStream(tmp_path, fingerprint=lambda: "a", resume=True)


def test_earlier_results_are_read_line_by_line(tmp_path: Path) -> None:
    """Those of a million images do not fit into memory."""
    options: dict[str, Any] = {"fingerprint": lambda: "a", "resume": True}
    written = ResultStream(tmp_path, **options)
    for image in range(100):
        written.write(image, ImageResult(np.full((300, 7), image / 7), None, None))
    written.close(complete=False)
    tracemalloc.start()
    resumed = ResultStream(tmp_path, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(resumed.done) == 100 and peak < written.path.stat().st_size / 4


def test_failed_evaluation_waits_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = ResultStream(tmp_path)
    monkeypatch.setattr(stream, "barrier", lambda: pytest.fail("waited"))
    failed.close(complete=False)


def test_main_process_computes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "is_main_process", lambda: False)
    monkeypatch.setattr(stream, "gather_objects", lambda mine: ["of the main process", mine])
    monkeypatch.setattr(stream, "_read_lines", lambda *_: [])
    made = ResultStream(tmp_path, fingerprint=lambda: pytest.fail("hashed"))
    made.close(complete=False)
    assert "of the main process" in made.path.read_text()


def test_weights_are_hashed_only_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_noise_data(tmp_path)
    classes = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3"]
    config = centernet2.load_config("CenterNet2_R18_small", [*SMALL_INPUT, *classes])
    model = centernet2.build_model(config)
    hashed: list[dict[str, Tensor]] = []
    monkeypatch.setattr(evaluator, "digest_of", lambda own: hashed.append(own) or "digest")
    dataset = find_validation_data(tmp_path, None, config.datasets, masks=False)
    evaluator.evaluate_dataset(model, dataset, config, tmp_path / "periodic")
    assert hashed == []
    centernet2.evaluate(model, data=tmp_path, output_dir=tmp_path / "eval")
    (own,) = hashed
    assert own.keys() == dict([*model.named_parameters(), *model.named_buffers()]).keys()
