"""Prediction on a Ray cluster of two nodes on this machine: equality, kill, loss of a node."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import centernet2
from centernet2.builders.prediction import ray_engine
from centernet2.builders.prediction.cluster_worker import Worker
from centernet2.builders.prediction.prediction_options import DetectionOptions
from centernet2.jobs import InferenceOptions
from centernet2.jobs.export import export
from centernet2.jobs.predict import predict
from centernet2.threads import cpu_threads
from tests.helpers.jobs import save_untrained, write_photographs
from tests.helpers.ray_cluster import STORE, cluster  # noqa: F401

pytestmark = pytest.mark.long
pytest.importorskip("ray", reason="--engine ray needs Ray: pip install 'centernet2[ray]'")

PHOTOS, SECONDS = 60, 600
# the command, with parts that are written at once
COMMAND = """
import sys
from centernet2.predict import parquet_parts
parquet_parts.PART_SECONDS = 0
from centernet2.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and a detector."""
    folder = tmp_path_factory.mktemp("ray")
    write_photographs(folder / "photos", count=PHOTOS)
    save_untrained(folder / "model.pth")
    return folder


def start(folder: Path, output: Path, weights: str = "model.pth") -> "subprocess.Popen[str]":
    arguments = ["predict", str(folder / "photos"), "--weights", str(folder / weights)]
    arguments += ["--engine", "ray", "--output", str(output), "--score-threshold", "0"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a command, and return what it has printed."""
    text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, text
    return text


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Wait until something holds, while a command runs."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)


def parts_in(output: Path) -> list[Path]:
    return sorted(output.glob("part-*.parquet"))


def rows_of(output: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of all parts by the name of the image; no image has two."""
    import pyarrow.parquet

    tables = [pyarrow.parquet.read_table(path) for path in parts_in(output)]
    rows = [row for table in tables for row in table.to_pylist()]
    by_name = {Path(row["image"]).name: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def require_same_as_one_process(
    folder: Path, rows: dict[str, dict[str, Any]], weights: str = "model.pth"
) -> None:
    predictor = centernet2.load_predictor(folder / weights, device="cpu", threads=1)
    assert len(rows) == PHOTOS
    with cpu_threads(1):
        for name, row in rows.items():
            alone = predictor(folder / "photos" / name)
            np.testing.assert_array_equal(np.array(row["boxes"], np.float32), alone.boxes)
            np.testing.assert_array_equal(np.array(row["scores"], np.float32), alone.scores)
            assert row["labels"] == alone.labels.tolist() and len(alone) > 0


def test_killed_command_continues_with_the_detections_of_one_process(
    folder: Path, tmp_path: Path, cluster: Any
) -> None:
    killed = start(folder, tmp_path)
    wait_for(lambda: len(parts_in(tmp_path)) >= 5, killed)
    killed.kill()
    killed.communicate()
    done = {path.name: path.read_bytes() for path in parts_in(tmp_path)}
    before = rows_of(tmp_path)
    assert 5 <= len(before) < PHOTOS
    text = finish(start(folder, tmp_path))
    assert f"{len(before)} of {PHOTOS} images are done already" in text
    assert f"{PHOTOS - len(before)} images written" in text
    assert all((tmp_path / name).read_bytes() == content for name, content in done.items())
    require_same_as_one_process(folder, rows_of(tmp_path))


def test_loss_of_a_node(folder: Path, tmp_path: Path, cluster: Any) -> None:
    lost = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    process = start(folder, tmp_path)
    wait_for(lambda: len(parts_in(tmp_path)) >= 5, process)
    cluster.remove_node(lost)
    finish(process)
    require_same_as_one_process(folder, rows_of(tmp_path))


def test_exported_file(folder: Path, tmp_path: Path, cluster: Any) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    export(weights=folder / "model.pth", output=folder / "model.onnx")
    finish(start(folder, tmp_path, "model.onnx"))
    require_same_as_one_process(folder, rows_of(tmp_path), "model.onnx")


class FragileWorker(Worker):
    """A worker that one image ends."""

    def _rows(self, shard: Any) -> list[dict[str, Any]]:
        rows = super()._rows(shard)
        if any(Path(row["image"]).name == "1.png" for row in rows):
            os._exit(1)
        return rows


def test_image_that_ends_its_worker(
    folder: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "Worker", FragileWorker)
    counts = predict(
        *[folder / "photos" / f"{index}.png" for index in range(4)],
        weights=folder / "model.pth", output=tmp_path, score_threshold=0.0,
        detection=DetectionOptions(engine="ray"), inference=InferenceOptions(device="cpu"),
    )  # fmt: skip
    assert (counts["images"], counts["skipped"]) == (3, 1)
    assert sorted(rows_of(tmp_path)) == ["0.png", "2.png", "3.png"]
    assert "1.png" in (tmp_path / "skipped.csv").read_text()
