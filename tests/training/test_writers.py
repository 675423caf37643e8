import errno
import io
import json
import logging
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import tracking
from rich.console import Console

from centernet2.training import writers
from centernet2.training.step import FinishedStep
from centernet2.training.writers import (
    JsonlWriter,
    LogWriter,
    MetricsLogger,
    ProgressBar,
    format_metrics,
    open_writers,
    summarize,
)
from tests.helpers.toy import Run, ToyDetector, spoil_step, stream

CPU = torch.device("cpu")


def finished(iteration: int, loss_a: float, loss_b: float, step_time: float = 0.5) -> FinishedStep:
    return FinishedStep(
        iteration=iteration, max_iteration=10,
        losses={"loss_a": torch.tensor(loss_a), "loss_b": torch.tensor(loss_b)},
        finite=torch.tensor(loss_a == loss_a), image_ids=[1, 2, 3], lr=0.1 * iteration,
        data_time=0.01 * iteration, step_time=step_time,
    )  # fmt: skip


opened = partial(open_writers, start_iteration=0, trackers=(), config={})


def lines_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_summary_of_three_steps() -> None:
    summary = summarize(
        [finished(1, 1.0, 5.0), finished(2, 9.0, 1.0), finished(3, 2.0, 2.0, step_time=2.0)],
        device=CPU,
    )
    assert summary["iteration"] == 3
    # the median of the sums 6, 10, 4, not the sum of the medians
    assert summary["total_loss"] == 6.0
    assert (summary["loss_a"], summary["loss_b"]) == (2.0, 2.0)
    assert summary["lr"] == pytest.approx(0.3)
    assert summary["data_time"] == pytest.approx(0.02)
    assert summary["time"] == pytest.approx(1.0, abs=0.05)
    assert summary["images_per_second"] == pytest.approx(3.0, abs=0.15)
    assert summary["eta_seconds"] == pytest.approx(7.0, abs=0.35)
    assert summary["skipped_steps"] == 0
    assert summary["peak_memory_mb"] > 16  # type: ignore[operator]


def test_summary_ignores_non_finite_steps() -> None:
    nan = float("nan")
    summary = summarize([finished(1, nan, 5.0), finished(2, 9.0, 1.0)], device=CPU)
    losses = [summary[key] for key in ("total_loss", "loss_a", "loss_b", "skipped_steps")]
    assert losses == [10, 9, 3, 1]
    lost = summarize([finished(1, nan, 5.0)], device=CPU)
    assert (lost["total_loss"], lost["loss_a"], lost["loss_b"]) == (None, None, 5)
    assert "loss_a not finite" in format_metrics(lost)


def test_run_writes_its_metrics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with caplog.at_level(logging.INFO), opened(tmp_path) as written:
        logger = MetricsLogger(written, period=2, device=CPU)
        Run(ToyDetector()).train(stream(make=partial(spoil_step, {2, 3})), 0, 5, [logger])
        for writer in written:
            writer.write({"iteration": 5, "eval/bbox/AP": 41.5})

    lines = lines_of(tmp_path / "metrics.jsonl")
    assert [line["iteration"] for line in lines] == [2, 4, 5, 5]
    assert [line["skipped_steps"] for line in lines[:3]] == [0, 2, 0]
    assert lines[0]["total_loss"] > lines[0]["loss_a"] > 0
    assert lines[1]["total_loss"] is None
    assert lines[0]["lr"] == pytest.approx(0.05)
    assert lines[3] == {"iteration": 5, "eval/bbox/AP": 41.5}
    assert "iteration 2  total_loss " in caplog.text
    assert "iteration 5  eval/bbox/AP 41.5" in caplog.text

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/total_loss")] == [2, 5]
    assert events.Scalars("eval/bbox/AP")[0].value == 41.5


def test_damaged_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"iteration": 2}\n{"iteration": 3, "to{"iteration": 4}\n\xff\0\n\n[]\n'
        b'{"iteration": "a"}\n'
        b'{"iteration": 4}\n'
    )
    JsonlWriter(path, start_iteration=4).close()
    assert lines_of(path) == [{"iteration": 2}, {"iteration": 4}]


def test_resumed_run_drops_later_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"iteration": 2}\n{"iteration": 4}\n{"iteration": 4, "eval/bbox/AP": 1}\n'
        '{"iteration": 6}\n{"iter'
    )
    writer = JsonlWriter(path, start_iteration=4)
    writer.write({"iteration": 6, "total_loss": None})
    assert lines_of(path) == [
        {"iteration": 2},
        {"iteration": 4},
        {"iteration": 4, "eval/bbox/AP": 1},
        {"iteration": 6, "total_loss": None},
    ]
    writer.close()
    JsonlWriter(path, start_iteration=0).close()
    assert path.read_text() == ""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr(writers, "get_console", lambda: console)
    return screen


def test_progress_bar_in_a_terminal(screen: io.StringIO) -> None:
    with ProgressBar(start_iteration=1, max_iteration=10) as bar:
        bar(finished(2, 1.0, 2.0))
        bar.write(summarize([finished(2, 1.0, 2.0)], device=CPU))
        bar.write({"iteration": 2, "eval/bbox/AP": 41.5})
    assert "2/10" in screen.getvalue()
    assert "total_loss 3" in screen.getvalue()


def test_a_time_budget_shortens_the_remaining_time(screen: io.StringIO) -> None:
    step = finished(2, 1.0, 2.0)
    step.expected_last = 5
    assert summarize([step], device=CPU)["eta_seconds"] == pytest.approx(1.5, abs=0.1)
    with ProgressBar(start_iteration=1, max_iteration=10) as bar:
        bar(step)
    assert "2/5" in screen.getvalue()


def test_no_progress_bar_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(writers, "get_console", lambda: Console(file=screen))
    with ProgressBar(start_iteration=0, max_iteration=10) as bar:
        bar(finished(2, 1.0, 2.0))
    assert screen.getvalue().strip() == ""


def test_tracker_gets_config_and_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, object]] = []

    class Tracker:
        requires_logging_directory = True

        def __init__(self, name: str, logging_dir: str) -> None:
            calls.append((name, logging_dir))

        def start(self) -> None:
            calls.append(("start", None))

        def store_init_configuration(self, values: object) -> None:
            calls.append(("config", values))

        def log(self, values: object, step: int) -> None:
            calls.append((f"step {step}", values))

        def finish(self) -> None:
            calls.append(("finish", None))

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "fake", Tracker)
    config = {"SOLVER": {"BASE_LR": 0.1, "STEPS": [1, 2]}}
    with opened(tmp_path, trackers=("fake",), config=config) as written:
        written[-1].write({"iteration": 7, "total_loss": 1.5, "loss_a": None, "eval/bbox/AP": 3.0})
    assert calls == [
        ("centernet2", str(tmp_path)),
        ("start", None),
        ("config", {"SOLVER.BASE_LR": 0.1, "SOLVER.STEPS": "[1, 2]"}),
        ("step 7", {"train/total_loss": 1.5, "eval/bbox/AP": 3.0}),
        ("finish", None),
    ]


def test_unknown_tracker_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trackers names 'wb'; choose among"):
        opened(tmp_path, trackers=("wb",)).__enter__()


def test_failing_tracker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NotLoggedIn:
        requires_logging_directory = False

        def __init__(self, name: str) -> None:
            raise RuntimeError("no key:\n  log in")

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "fake", NotLoggedIn)
    message = r"trackers names 'fake', which does not start .*: no key: log in$"
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, trackers=("fake",)).__enter__()


def test_failing_writer_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tracker fails in every step and at the end; the disk is full for some lines."""

    class Unreachable:
        requires_logging_directory = False

        def __init__(self, name: str) -> None: ...
        def start(self) -> None: ...
        def store_init_configuration(self, values: object) -> None: ...

        def log(self, values: object, step: int) -> None:
            raise RuntimeError("server gone:\n  503")

        def finish(self) -> None:
            raise RuntimeError("server gone")

    write = JsonlWriter.write

    def write_unless_full(self: JsonlWriter, metrics: writers.Metrics) -> None:
        if metrics["iteration"] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, metrics)

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "fake", Unreachable)
    monkeypatch.setattr(JsonlWriter, "write", write_unless_full)
    with opened(tmp_path, trackers=("fake",)) as written:
        logger = MetricsLogger(written, period=2, device=CPU)
        Run(ToyDetector()).train(stream(), 0, 5, [logger])
    assert [line["iteration"] for line in lines_of(tmp_path / "metrics.jsonl")] == [4, 5]
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 2 and all("training goes on" in each for each in warnings)
    assert "metrics.jsonl (OSError: [Errno 28] No space left" in warnings[0]
    assert "written to fake (RuntimeError: server gone: 503)" in warnings[1]


def test_log_leaves_single_classes_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LogWriter().write(
        {"iteration": 4, "eval/bbox/AP": 1.0, "eval/ema/bbox/AP": 2.0, "eval/ema/bbox/AP/cat": 3.0}
    )
    assert "eval/ema/bbox/AP 2" in caplog.text and "cat" not in caplog.text
