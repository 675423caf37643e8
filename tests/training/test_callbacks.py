import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from centernet2 import distributed
from centernet2.exit_codes import ExitCode
from centernet2.training.callbacks import (
    PeriodicCheckpoint,
    PeriodicEvaluation,
    StopOnSignal,
    remove_old_checkpoints,
)
from centernet2.training.step import Callback, FinishedStep
from centernet2.training.writers import GuardedWriter, Metrics
from tests.helpers.toy import Run, ToyDetector, stream

ROOT = Path(__file__).parents[2]


def train(*callbacks: Callback, stop: int = 6) -> None:
    Run(ToyDetector()).train(stream(), 0, stop, list(callbacks))


def stop_at(iteration: int, step: FinishedStep) -> None:
    step.stop = step.iteration == iteration


def write_checkpoint(folder: Path, iteration: int) -> Path:
    path = folder / f"model_{iteration:07d}.pth"
    path.write_text(str(iteration))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def checkpoint(folder: Path, **options: Any) -> PeriodicCheckpoint:
    defaults: dict[str, Any] = {"minutes": 0, "agree_period": 1, "keep": 0}
    return PeriodicCheckpoint(partial(write_checkpoint, folder), **{**defaults, **options})


def test_periodic_checkpoints_keep_the_newest(tmp_path: Path) -> None:
    (tmp_path / "model_final.pth").touch()
    (tmp_path / "model_0000001.pth").touch()  # of the run that this one resumes
    train(checkpoint(tmp_path, period=2, keep=2))
    assert names_in(tmp_path) == ["model_0000004.pth", "model_0000006.pth", "model_final.pth"]


def test_stop_saves_a_checkpoint(tmp_path: Path) -> None:
    train(partial(stop_at, 3), checkpoint(tmp_path, period=100))
    assert names_in(tmp_path) == ["model_0000003.pth"]


def test_checkpoints_by_the_clock(tmp_path: Path) -> None:
    """A step takes 40 seconds: a minute is over after the second, the fourth ..."""
    seconds = iter(range(0, 10000, 40))
    train(checkpoint(tmp_path, period=100, minutes=1, clock=lambda: next(seconds)), stop=5)
    assert names_in(tmp_path) == [f"model_000000{i}.pth" for i in (2, 4, 5)]


def test_checkpoints_with_eight_digits_sort_last(tmp_path: Path) -> None:
    for iteration in (9999999, 10000000):
        write_checkpoint(tmp_path, iteration)
    remove_old_checkpoints(tmp_path, keep=0)
    assert len(list(tmp_path.iterdir())) == 2
    remove_old_checkpoints(tmp_path, keep=1)
    assert names_in(tmp_path) == ["model_10000000.pth"]


def ignore(iteration: int, results: Mapping[str, float]) -> bool:
    return False


def evaluating(
    evaluate: Callable[[], Any], *writers: Any, period: int = 2, review: Any = ignore
) -> PeriodicEvaluation:
    return PeriodicEvaluation(evaluate, writers=list(writers), period=period, review=review)


class Recorder:
    def __init__(self) -> None:
        self.lines: list[Metrics] = []

    def write(self, metrics: Metrics) -> None:
        self.lines.append(metrics)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("period", "iterations"), [(2, [2, 4, 5]), (0, [5])])
def test_periodic_and_final_evaluation(period: int, iterations: list[int]) -> None:
    recorder, results = Recorder(), iter([{"bbox/AP": 1.0}, {"bbox/AP": 2.0}, {"bbox/AP": 3.0}])
    evaluation = evaluating(lambda: next(results), recorder, period=period)
    train(evaluation, stop=5)
    assert [line["iteration"] for line in recorder.lines] == iterations
    assert recorder.lines[0] == {"iteration": iterations[0], "eval/bbox/AP": 1.0}
    assert evaluation.results == {"bbox/AP": float(len(iterations))}


def test_interrupted_evaluation_stops_training() -> None:
    recorder, seen = Recorder(), []
    evaluation = evaluating(lambda: None, recorder)
    train(evaluation, lambda step: seen.append(step.iteration), stop=5)
    assert seen == [1, 2]
    assert recorder.lines == [] and evaluation.results == {}


def test_review_decides_whether_training_stops() -> None:
    reviews: list[tuple[int, Mapping[str, float]]] = []

    def review(iteration: int, results: Mapping[str, float]) -> bool:
        reviews.append((iteration, results))
        return iteration == 4

    train(evaluating(lambda: {"AP": 1.0}, review=review), stop=8)
    assert reviews == [(2, {"AP": 1.0}), (4, {"AP": 1.0})]


@pytest.mark.parametrize(
    ("error", "traceback"), [(ValueError("no image"), False), (KeyError("bug"), True)]
)
def test_failed_evaluation_does_not_end_training(
    error: Exception, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Any] = [{"AP": 1.0}, error, {"AP": 3.0}]

    def evaluate() -> dict[str, float]:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    evaluation = evaluating(evaluate)
    train(evaluation, stop=4)
    assert evaluation.failure is error and evaluation.results == {}
    assert bool(caplog.records[-1].exc_info) is traceback
    assert "the evaluation after iteration 4 failed: " in caplog.text
    evaluation.run(6)
    assert evaluation.failure is None and evaluation.results == {"AP": 3.0}


def test_failed_evaluation_keeps_nothing_alive() -> None:
    """An error would keep its frames: worker processes, and tensors on the device."""
    held: list[weakref.ref[Recorder]] = []

    def evaluate() -> dict[str, float]:
        loader = Recorder()
        held.append(weakref.ref(loader))
        with distributed.failing_together():
            try:
                raise OSError("disk full")
            except OSError as error:
                raise ValueError("the evaluation cannot be written") from error

    evaluation = evaluating(evaluate)
    gc.disable()  # without it, cycles stay
    try:
        assert not evaluation.run(2)
        assert held[0]() is None
    finally:
        gc.enable()
    assert str(evaluation.failure) == "the evaluation cannot be written"


def test_metrics_that_cannot_be_recorded_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    class Unreachable(Recorder):
        def write(self, metrics: Metrics) -> None:
            raise ConnectionError("no tracker")

    def review(iteration: int, results: Mapping[str, float]) -> bool:
        reviewed.append(iteration)
        raise OSError("disk full")

    reviewed: list[int] = []
    recorder = Recorder()
    writers = [GuardedWriter("wandb", Unreachable()), recorder]
    evaluation = evaluating(lambda: {"AP": 1.0}, *writers, review=review)
    train(evaluation, stop=2)
    assert evaluation.results == {"AP": 1.0} and evaluation.failure is None
    assert recorder.lines and reviewed == [2]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("metrics could not be written to wandb (ConnectionError: no tracker)")
    assert second == "the metrics after iteration 2 could not be recorded: disk full"


def test_interruption_of_an_evaluation_is_no_failure() -> None:
    def evaluate() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluating(evaluate).run(2)


def test_stop_skips_the_evaluation() -> None:
    recorder = Recorder()
    train(partial(stop_at, 2), evaluating(dict, recorder))
    assert recorder.lines == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_after_the_step(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    seen: list[FinishedStep] = []

    def kill_at_two(step: FinishedStep) -> None:
        if step.iteration == 2:
            os.kill(os.getpid(), number)

    with StopOnSignal(period=1) as stop:
        train(kill_at_two, stop, seen.append)
        assert stop.received
    assert [step.stop for step in seen] == [False, True]
    assert signal.getsignal(number) is before


def test_training_in_a_thread() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with StopOnSignal(period=1) as stop:
                train(stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []


PROGRAM = """
import sys, time
from pathlib import Path
import torch
from centernet2 import distributed
from centernet2.exit_codes import ExitCode
from centernet2.training.callbacks import PeriodicCheckpoint, StopOnSignal
from centernet2.training.run_state import training_state
from tests.helpers.toy import Run, ToyDetector, stream

run = Run(ToyDetector())

def save(iteration):
    path = Path(sys.argv[1]) / f"model_{iteration:07d}.pth"
    training = training_state(iteration, run.parts, [])
    torch.save({"model": run.model.state_dict(), "training": training}, path)
    return path

def tell(step):
    time.sleep(0.01)
    print(step.iteration, flush=True)

with StopOnSignal(period=1) as stop:
    checkpoint = PeriodicCheckpoint(save, period=10**6, minutes=0, agree_period=1, keep=1)
    run.train(stream(), 0, 10**6, [stop, checkpoint, tell])
raise SystemExit(ExitCode.INTERRUPTED if stop.received else 0)
"""


def test_signalled_program_saves_and_exits_with_75(tmp_path: Path) -> None:
    paths = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    start = partial(subprocess.Popen, command, env=environment, cwd=ROOT, text=True)
    with start(stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        last = int(process.stdout.read().split()[-1])
        assert process.wait(timeout=30) == ExitCode.INTERRUPTED == 75
    saved = torch.load(tmp_path / f"model_{last:07d}.pth", weights_only=True)
    assert saved["training"]["iteration"] == last >= 5
