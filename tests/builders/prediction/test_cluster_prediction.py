"""Prediction by an engine: planning, shards, parts, resume. The engine is one worker here."""

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import centernet2
from centernet2.builders.prediction import cluster_prediction, ray_engine
from centernet2.builders.prediction.attempts import Attempts
from centernet2.builders.prediction.cluster_worker import MAX_ATTEMPTS, Task, Worker, shard_of
from centernet2.builders.prediction.prediction_options import DetectionOptions, FilmOptions
from centernet2.builders.prediction.prediction_run import plan_prediction
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.jobs import InferenceOptions
from centernet2.jobs.predict import predict
from centernet2.predict import parquet_parts
from centernet2.runtime import exported_model
from centernet2.structures import ScoreCalibration
from centernet2.threads import cpu_threads
from tests.helpers.jobs import save_untrained, write_photographs

CPU = InferenceOptions(device="cpu")
PHOTOS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, one of them broken, and a detector of cats and dogs."""
    folder = tmp_path_factory.mktemp("cluster")
    write_photographs(folder / "photos", count=PHOTOS)
    (folder / "photos" / "bad.png").write_bytes(b"no image")
    save_untrained(folder / "model.pth")
    return folder


class OneWorker:
    """In place of Ray: a worker in this process. `lose` and `stop` are names of images."""

    def __init__(self) -> None:
        self.shards: list[list[str]] = []
        self.lose: set[str] = set()  # a shard with one of them gives nothing
        self.stop: set[str] = set()  # Ctrl-C when it is its turn

    def __call__(self, shards: Sequence[Any], task: Task) -> Iterator[Any]:
        worker = Worker(task, Attempts().begin)
        for shard in shards:
            names = [Path(os.fsdecode(each)).name for each in shard["path"].to_pylist()]
            if self.stop & {*names}:
                raise KeyboardInterrupt
            self.shards.append(names)
            if not self.lose & {*names}:
                yield worker(shard)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> OneWorker:
    worker = OneWorker()
    monkeypatch.setattr(cluster_prediction, "detect_on_ray", worker)
    monkeypatch.setattr(cluster_prediction, "connected", nullcontext)
    monkeypatch.setattr(cluster_prediction, "import_ray", lambda: None)
    return worker


def run(folder: Path, output: Path, **options: Any) -> dict[str, int]:
    options = {"weights": folder / "model.pth", "score_threshold": 0.0} | options
    detection = DetectionOptions(engine="ray", **options.pop("kept", {}))
    photos = options.pop("photos", folder / "photos")
    return predict(photos, output=output, detection=detection, inference=CPU, **options)


def rows_of(output: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of all parts, by the name of the image; no image has two."""
    import pyarrow.parquet

    rows = [
        row
        for path in sorted(output.glob("*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]
    by_name = {Path(row["image"]).name: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def skipped_in(output: Path) -> list[str]:
    with (output / "skipped.csv").open(encoding="utf-8") as file:
        return [Path(row["image"]).name for row in csv.DictReader(file)]


def test_same_detections_as_one_process(folder: Path, tmp_path: Path, engine: OneWorker) -> None:
    counts = run(folder, tmp_path, kept={"max_detections": 7})
    rows = rows_of(tmp_path)
    predictor = centernet2.load_predictor(folder / "model.pth", device="cpu")
    for index in range(PHOTOS):
        path = folder / "photos" / f"{index}.png"
        with cpu_threads(1):  # those of a worker: sums depend on the number
            row, alone = rows[path.name], predictor(path)[:7]
        assert row["image"] == str(path) and (row["height"], row["width"]) == alone.size
        np.testing.assert_array_equal(np.array(row["boxes"], np.float32), alone.boxes)
        for name in ("scores", "labels", "objectness", "class_probability"):
            np.testing.assert_array_equal(
                np.array(row[name], getattr(alone, name).dtype), getattr(alone, name)
            )
        assert row["names"] == alone.names and row["masks"] is None
    objects = sum(len(row["scores"]) for row in rows.values())
    assert counts == {"images": PHOTOS, "skipped": 1, "objects": objects} and objects > 0
    assert skipped_in(tmp_path) == ["bad.png"]


def test_a_stopped_run_continues(
    folder: Path, tmp_path: Path, engine: OneWorker, caplog: pytest.LogCaptureFixture
) -> None:
    engine.stop = {"3.png"}
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path)
    assert sorted(rows_of(tmp_path)) == ["0.png", "1.png", "2.png"]
    engine.stop, engine.shards = set(), []
    assert run(folder, tmp_path) | {"objects": 0} == {"images": 2, "skipped": 1, "objects": 0}
    assert engine.shards == [["3.png"], ["4.png"], ["bad.png"]]
    assert len(rows_of(tmp_path)) == PHOTOS
    caplog.clear()
    assert run(folder, tmp_path) == {"images": 0, "skipped": 1, "objects": 0}
    assert "skipped.csv names 1 image that could not be read" in caplog.messages[-1]
    assert "no objects" not in caplog.text
    (folder / "photos" / "bad.png").rename(tmp_path / "gone.png")
    try:
        engine.shards = []
        assert run(folder, tmp_path) == {"images": 0, "skipped": 0, "objects": 0}
        assert not engine.shards and not (tmp_path / "skipped.csv").exists()
    finally:
        (tmp_path / "gone.png").rename(folder / "photos" / "bad.png")


@pytest.mark.parametrize(("changes", "named"), [
    ({"score_threshold": 0.5}, "--score-threshold"),
    ({"kept": {"classes": ["cat"]}}, "--classes"),
    ({"kept": {"max_detections": 3}}, "--max-detections"),
    ({"tile": 32}, "--tile or --overlap"),
])  # fmt: skip
def test_rows_of_other_options_are_not_mixed(
    folder: Path, tmp_path: Path, engine: OneWorker, changes: dict[str, Any], named: str
) -> None:
    run(folder, tmp_path)
    before = rows_of(tmp_path)
    with pytest.raises(ValueError, match=rf"part-00000\.parquet was made with .*{named}"):
        run(folder, tmp_path, **changes)
    assert rows_of(tmp_path) == before


def test_rows_of_other_weights_stay_apart(folder: Path, tmp_path: Path, engine: OneWorker) -> None:
    weights = save_untrained(tmp_path / "model.pth")
    run(folder, tmp_path / "out", weights=weights)
    save_untrained(weights, ("cat", "dog"), "TEST.DETECTIONS_PER_IMAGE", "3")
    with pytest.raises(ValueError, match=r"was made with .*--weights"):
        run(folder, tmp_path / "out", weights=weights)


def test_rows_of_an_abstaining_detector_stay_apart(tmp_path: Path, engine: OneWorker) -> None:
    write_photographs(tmp_path / "photos", count=1)
    weights = save_untrained(tmp_path / "model.pth")
    checkpoint = load_checkpoint(weights)
    calibration = ScoreCalibration((1.0, 1.0), (0.0, 0.0), unknown_from=(0.0, 0.0))
    info = replace(checkpoint.info, calibration=calibration)
    save_checkpoint(weights, replace(checkpoint, info=info))
    run(tmp_path, tmp_path / "out", weights=weights)
    before = rows_of(tmp_path / "out")
    with pytest.raises(ValueError, match=r"was made with other values of --abstain;"):
        run(tmp_path, tmp_path / "out", weights=weights, kept={"abstain": True})
    assert rows_of(tmp_path / "out") == before


def test_an_image_that_ends_workers_takes_no_other_with_it(
    folder: Path, tmp_path: Path, engine: OneWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_prediction, "SHARDS", 2)  # thus three images in each
    engine.lose = {"1.png"}
    assert run(folder, tmp_path)["skipped"] == 2
    assert engine.shards[0] == ["0.png", "1.png", "2.png"]
    assert engine.shards[2:] == [["0.png"], ["1.png"], ["2.png"]]
    assert sorted(rows_of(tmp_path)) == ["0.png", "2.png", "3.png", "4.png"]
    assert sorted(skipped_in(tmp_path)) == ["1.png", "bad.png"]


def test_a_worker_gives_up_a_shard_on_which_others_have_ended(folder: Path) -> None:
    task = task_of(folder)
    begun = Attempts()
    worker, shard = Worker(task, begun.begin), shard_of([folder / "photos" / "0.png"])
    for _ in range(MAX_ATTEMPTS):
        assert len(worker(shard)) == 1
    with pytest.raises(RuntimeError, match="workers have ended on 1 image"):
        worker(shard)


def task_of(folder: Path, **changes: Any) -> Task:
    """Return the task of a run over the photographs."""
    options = DetectionOptions(engine="ray", **changes)
    photos, film = [str(folder / "photos")], FilmOptions()
    plan = plan_prediction(photos, folder / "out", None, 0.0, options, film)
    loaded = {"overrides": [], "config": None, "tiling": None, **vars(CPU)}
    return cluster_prediction.task_of(folder / "model.pth", loaded, plan)


def test_a_machine_with_other_weights_is_named(folder: Path) -> None:
    worker = Worker(task_of(folder)._replace(digest="another"), Attempts().begin)
    (row,) = worker(shard_of([folder / "photos" / "0.png"])).to_pylist()
    assert row["image"] is None and "model.pth is another file" in row["error"]


def test_what_a_worker_occupies(folder: Path) -> None:
    task = task_of(folder, threads=4)
    assert ray_engine.worker_resources(task, {"GPU": 8}) == {"num_cpus": 4}
    cuda = task._replace(options={**task.options, "device": "cuda:0"})
    assert ray_engine.worker_resources(cuda, {}) == {"num_cpus": 4, "num_gpus": 1}
    npu = task._replace(options={**task.options, "device": "npu"})
    assert ray_engine.worker_resources(npu, {})["resources"] == {"NPU": 1}
    free = task._replace(options={**task.options, "device": None})
    assert ray_engine.worker_resources(free, {"GPU": 8})["num_gpus"] == 1
    assert ray_engine.worker_resources(free, {"CPU": 8}) == {"num_cpus": 4}
    exported = free._replace(weights="model.onnx")
    assert ray_engine.worker_resources(exported, {"GPU": 8}) == {"num_cpus": 4}


@pytest.mark.parametrize(("given", "passed"), [(None, 1), (3, 3)])
def test_threads_of_a_worker(folder: Path, given: int | None, passed: int) -> None:
    assert task_of(folder, threads=given).options["threads"] == passed


def test_threads_reach_an_exported_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_with(path: Path, providers: Sequence[str], *, threads: int | None) -> None:
        raise ValueError(f"{path.name} with {threads} threads")

    monkeypatch.setitem(exported_model.SESSIONS, ".onnx", open_with)
    monkeypatch.setattr(cluster_prediction, "import_ray", lambda: None)
    for engine in (None, "ray"):
        detection = DetectionOptions(threads=3, engine=engine)
        (tmp_path / "model.onnx").touch()
        with pytest.raises(ValueError, match=r"model\.onnx with 3 threads"):
            predict(
                folder / "photos", weights=tmp_path / "model.onnx", output=tmp_path / "out",
                detection=detection,
            )  # fmt: skip


@pytest.mark.parametrize(("options", "message"), [
    ({"write": "json"}, "--write cannot be used with --engine ray"),
    ({"film": FilmOptions(track=True)}, "--track is of films"),
    ({"film": FilmOptions(count_line="0,0,9,9")}, "--count-line is of films"),
    ({"film": FilmOptions(stream_timeout=3)}, "--stream-timeout is of films"),
    ({"photos": "film.mp4"}, r"film\.mp4 is no image, and --engine ray reads images alone"),
    ({"photos": "-"}, "- is no image"),
    ({"photos": "rtsp://user:secret@camera/live"}, r"^rtsp://user:\*\*\*@camera/live is no image"),
])  # fmt: skip
def test_what_an_engine_does_not_do_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("film.mp4").write_bytes(b"\0" * 64)
    with pytest.raises(ValueError, match=message):
        run(folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_unknown_engine_and_missing_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="--engine is 'spark'; it takes ray"):
        predict("a.png", weights="w.pth", detection=DetectionOptions(engine="spark"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs Ray; pip install 'centernet2\[ray\]'"):
        run(folder, tmp_path / "out")


def test_other_parquet_files_are_no_parts(folder: Path, tmp_path: Path, engine: OneWorker) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"image": ["a.jpg"]}), tmp_path / "part-00000.parquet"
    )
    with pytest.raises(ValueError, match=r"part-00000\.parquet was not made by"):
        run(folder, tmp_path)
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"part-00000\.parquet cannot be read as a part"):
        run(folder, tmp_path)


def test_without_images_nothing_is_written(folder: Path, tmp_path: Path, engine: OneWorker) -> None:
    with pytest.raises(ValueError, match=r"no image could be read \(1 image, listed above\)"):
        run(folder, tmp_path / "out", photos=folder / "photos" / "bad.png")
    assert not (tmp_path / "out").exists()


def test_parts_end_by_number_of_images_and_by_time(
    folder: Path, tmp_path: Path, engine: OneWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_parts, "PART_IMAGES", 2)
    run(folder, tmp_path / "images")
    assert len([*(tmp_path / "images").glob("*.parquet")]) == 3
    monkeypatch.setattr(parquet_parts, "PART_IMAGES", 100)
    monkeypatch.setattr(parquet_parts, "PART_SECONDS", 0.0)
    run(folder, tmp_path / "time")
    assert len([*(tmp_path / "time").glob("*.parquet")]) == PHOTOS
    assert rows_of(tmp_path / "images") == rows_of(tmp_path / "time")
