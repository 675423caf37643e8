"""Options of prediction: what is read, kept, written and counted."""

import csv
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from centernet2 import cli
from centernet2.builders.prediction.prediction_options import DetectionOptions, FilmOptions
from centernet2.exit_codes import ExitCode
from centernet2.jobs import InferenceOptions
from centernet2.jobs.predict import predict
from tests.helpers.films import require_av, sound_of, write_film
from tests.helpers.jobs import save_untrained, write_photographs

CPU = InferenceOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and a detector of cats and dogs."""
    folder = tmp_path_factory.mktemp("options")
    write_photographs(folder / "photos")
    save_untrained(folder / "model.pth")
    return folder


def run(folder: Path, output: Path, *sources: Any, **options: Any) -> list[dict[str, Any]]:
    """Predict, and return the records of predictions.json."""
    options = {"score_threshold": 0.0, "inference": CPU, "write": "json"} | options
    predict(*sources, weights=folder / "model.pth", output=output, **options)
    records: list[dict[str, Any]] = json.loads((output / "predictions.json").read_text("utf-8"))
    return records


def names_of(records: list[dict[str, Any]]) -> list[str]:
    return [each["class"] for record in records for each in record["detections"]]


def command(folder: Path, *words: str) -> int:
    """Run the command, and return its exit code."""
    words = ("predict", *words, "--weights", str(folder / "model.pth"), "--device", "cpu")
    try:
        cli.app(list(words), exit_on_error=False)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def test_chosen_classes_and_number_of_detections(folder: Path, tmp_path: Path) -> None:
    photos = folder / "photos"
    everything = run(folder, tmp_path / "all", photos)
    assert set(names_of(everything)) == {"cat", "dog"}
    cats = run(folder, tmp_path / "cats", photos, detection=DetectionOptions(classes=["cat"]))
    assert names_of(cats) == ["cat"] * names_of(everything).count("cat")
    best = run(folder, tmp_path / "best", photos, detection=DetectionOptions(max_detections=2))
    for few, all_ in zip(best, everything, strict=True):
        assert few["detections"] == all_["detections"][:2]


def test_thresholds_by_class_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path), "--write", "json", "--score-threshold"]
    assert command(folder, str(folder / "photos"), *output, "cat=1,dog=0") == ExitCode.DONE
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert set(names_of(records)) == {"dog"}
    assert command(folder, str(folder / "photos"), *output, "0") == ExitCode.DONE
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert set(names_of(records)) == {"cat", "dog"}


@pytest.mark.parametrize(("options", "message"), [
    ({"detection": DetectionOptions(classes=",")}, "--classes is ','; give names"),
    ({"detection": DetectionOptions(classes=[",", ","])}, "--classes is ',,,'; give names"),
    ({"write": ","}, "--write is ','; choose of pictures"),
    ({"write": [","]}, "--write is ','; choose of pictures"),
    ({"write": "jsn"}, r"--write has 'jsn'; choose of .*did you mean 'json'"),
    ({"score_threshold": ["cat=2"]}, "--score-threshold cat is 2"),
    ({"score_threshold": ["x"]}, "--score-threshold is 'x'; it takes a number"),
    ({"score_threshold": ["0.3", "0.4"]}, "give one number, or CLASS=NUMBER"),
    ({"score_threshold": ["cow=0.4"]}, "names the class 'cow'"),
    ({"detection": DetectionOptions(classes="cta")}, "--classes has 'cta'.*did you mean 'cat'"),
    ({"film": FilmOptions(count_line="1,2")}, "--count-line is '1,2'; give pixels as x,y,x,y"),
    ({"film": FilmOptions(count_zone="1,2,3,4")}, "--count-zone is '1,2,3,4'"),
    ({"film": FilmOptions(stream_timeout=0)}, "stream_timeout is 0"),
])  # fmt: skip
def test_impossible_options_are_named(
    folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(folder, tmp_path / "out", folder / "photos", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--batch-size", "--max-detections", "--threads"])
def test_numbers_from_one(folder: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 0; it takes a whole number from 1"):
        command(folder, str(folder / "photos"), "--output", str(tmp_path), option, "0")


def test_batches_and_threads_change_nothing(folder: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    alone = run(folder, tmp_path / "alone", folder / "photos")
    options = DetectionOptions(batch_size=2, threads=1)
    together = run(folder, tmp_path / "together", folder / "photos", detection=options)
    assert torch.get_num_threads() == before
    for one, other in zip(alone, together, strict=True):
        assert len(one["detections"]) == len(other["detections"])
        for a, b in zip(one["detections"], other["detections"], strict=True):
            assert a["box"] == pytest.approx(b["box"], abs=0.02)


def test_list_of_paths_and_standard_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(folder, tmp_path / "a", folder / "photos" / "0.png")
    (tmp_path / "list.txt").write_text(str(folder / "photos" / "0.png"))
    assert run(folder, tmp_path / "b", tmp_path / "list.txt") == expected
    content = (folder / "photos" / "0.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    words = ["-", "--output", str(tmp_path / "c"), "--write", "json", "--score-threshold", "0"]
    assert command(folder, *words) == ExitCode.DONE
    (record,) = json.loads((tmp_path / "c" / "predictions.json").read_text())
    assert record == {**expected[0], "file": "stdin"}


def test_film_is_predicted_and_written(folder: Path, tmp_path: Path) -> None:
    require_av()
    film = write_film(tmp_path / "a.mp4", 25, sound="aac")
    (tmp_path / "broken.mkv").write_bytes(b"no film" * 100)
    output = tmp_path / "out"
    words = [str(tmp_path), "--output", str(output), "--write", "pictures,csv"]
    assert command(folder, *words, "--score-threshold", "0") == ExitCode.INCOMPLETE
    assert sorted(path.name for path in output.iterdir()) == ["00000_a.mp4", "detections.csv"]
    assert sound_of(output / "00000_a.mp4")[0][1] == pytest.approx(1, abs=0.06)
    with (output / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {str(film)}
    assert [int(row["frame"]) for row in rows] == sorted(int(row["frame"]) for row in rows)
    assert {float(row["time"]) for row in rows} == {i / 25 for i in range(25)}
    for number in (1, 2):  # the drawn films are not predicted again
        assert command(folder, *words, "--score-threshold", "0") == ExitCode.INCOMPLETE
        names = ["00000_a.mp4", "detections.csv"]
        assert sorted(path.name for path in (output / f"earlier_{number}").iterdir()) == names
        assert {path.name for path in output.glob("*.*")} == set(names)
        with (output / "detections.csv").open(newline="") as file:
            assert {row["image"] for row in csv.DictReader(file)} == {str(film)}


def test_film_with_damaged_frames_is_used_and_named(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_av()
    film = write_film(tmp_path / "a.avi", 30, codec="mjpeg")
    content = bytearray(film.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    film.write_bytes(content)
    words = [str(film), "--output", str(tmp_path / "out"), "--write", "json"]
    assert command(folder, *words) == ExitCode.INCOMPLETE
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 10 < len(records) < 30 and "frames are damaged and left out" in caplog.text
    assert "1 of 1 sources could not be read, or not whole" in caplog.messages[-1]


def test_nothing_readable_is_refused(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_av()
    (tmp_path / "a.mkv").write_bytes(b"no film" * 100)
    with pytest.raises(ValueError, match=r"no image could be read \(1 source, listed above\)"):
        run(folder, tmp_path / "out", tmp_path / "a.mkv")
    assert "a.mkv: it cannot be read as a film" in caplog.text
    assert not (tmp_path / "out").exists()


def test_stream_that_never_connects_is_refused_in_time(folder: Path, tmp_path: Path) -> None:
    require_av()
    film = FilmOptions(stream_timeout=0.5)
    with pytest.raises(ValueError, match="no image could be read"):
        run(folder, tmp_path / "out", "rtsp://127.0.0.1:9/nothing", film=film)


def test_tracked_film_has_numbers_and_counts(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_av()
    pytest.importorskip("trackers", reason="tracks need trackers, the extra [track]")
    film = write_film(tmp_path / "a.mp4", 8)
    options = FilmOptions(count_zone="0,0,64,0,64,48,0,48")
    with caplog.at_level(logging.INFO):
        records = run(folder, tmp_path / "out", film, film=options)
    numbers = {each["id"] for record in records for each in record["detections"]} - {-1}
    assert numbers
    with (tmp_path / "out" / "events.csv").open(newline="") as file:
        events = list(csv.DictReader(file))
    assert {int(event["id"]) for event in events} <= numbers and events
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert sum(counts["zone"]["entered"].values()) == len(events)
    assert f"zone, entered: {len(events)} (" in caplog.text
    with pytest.raises(ValueError, match=r"0\.png is no film, and only films have tracks"):
        run(folder, tmp_path / "no", folder / "photos", film=FilmOptions(track=True))
