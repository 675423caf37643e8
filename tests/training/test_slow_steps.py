"""The warning about busy cores, with clocks that the tests turn."""

import logging
import multiprocessing
import os
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from centernet2.threads import ProcessorTime
from centernet2.training import slow_steps
from centernet2.training.slow_steps import WARM_UP_STEPS, WINDOW, SlowSteps, run_time
from centernet2.training.step import FinishedStep

FIRST = WARM_UP_STEPS + WINDOW


class Machine:
    """Two cores, of which this process uses one, and other programs `others`."""

    def __init__(self) -> None:
        self.others = 0.0
        self.clock = self.busy = self.own = 0.0

    def work(self, seconds: float) -> None:
        self.clock += seconds
        self.busy += (1 + self.others) * seconds
        self.own += seconds

    def measure(self) -> ProcessorTime:
        return ProcessorTime(self.clock, self.busy, self.own, cores=2)


def run(callback: SlowSteps, machine: Machine, times: Iterator[float] | list[float]) -> None:
    for iteration, seconds in enumerate(times, start=1):
        machine.work(seconds)
        callback(
            FinishedStep(
                iteration, 10**6, {}, torch.tensor(True), [], lr=0.1, data_time=0, step_time=seconds
            )
        )


@pytest.mark.parametrize(
    ("factor", "others", "warns"),
    [(2.5, 0.9, True), (2.5, 0.3, False), (1.9, 0.9, False), (1.0, 0.9, False)],
)
def test_slow_steps_on_busy_cores_are_reported(
    factor: float, others: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    callback = SlowSteps(machine.measure)
    with caplog.at_level(logging.INFO):
        run(callback, machine, [5.0] * WARM_UP_STEPS + [0.2] * WINDOW)
        machine.others = others
        run(callback, machine, [0.2 * factor] * 5 * WINDOW)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warns  # once, whatever follows
    if warns:
        assert "steps take 2.5 times as long as the first ones (0.5 s, 0.2 s)" in messages[0]
        assert "other programs use 0.9 of the 2 cores" in messages[0]


def test_single_slow_steps_are_no_trend(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.others = 1.0
    run(SlowSteps(machine.measure), machine, [0.1] * FIRST + ([9.0] + [0.1] * 2) * WINDOW)
    assert not caplog.records


def test_times_of_this_machine() -> None:
    before = run_time()
    sum(number * number for number in range(10**6))
    after = run_time()
    assert after.cores >= 1
    assert after.elapsed > before.elapsed
    assert after.own >= before.own > 0
    assert after.busy >= before.busy > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
@pytest.mark.parametrize(("processes", "joined"), [(1, False), (2, True)])
def test_processes_of_a_training_run_are_no_other_programs(
    processes: int, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that one launcher has started; here it is this process."""
    monkeypatch.setattr(slow_steps, "world_size", lambda: processes)
    launcher = sum(psutil.Process().cpu_times()[:2])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert (pool.apply(run_time).own >= launcher) is joined
