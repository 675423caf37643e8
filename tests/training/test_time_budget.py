"""A limit on the time of a training run: it decays in time, and ends with all its evaluations."""

import math
from collections.abc import Callable
from functools import partial
from itertools import count

import pytest
import torch
from torch import nn

from centernet2.training.optim import sgd
from centernet2.training.schedule import Schedule, cosine
from centernet2.training.step import FinishedStep
from centernet2.training.time_budget import TimeBudget

LENGTH = 1000


class Simulation:
    """Training steps on a clock that a test moves."""

    def __init__(self, seconds: float, *, started: float = 0.0) -> None:
        self.now = started
        group = {"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}
        self.optimizer = sgd([group], lr=1.0, momentum=0.0, nesterov=False)
        self.schedule = Schedule(self.optimizer, partial(cosine, max_iter=LENGTH, end=0.0))
        self.budget = TimeBudget(
            seconds, self.schedule, length=LENGTH, started=started, period=20,
            clock=lambda: self.now,
        )  # fmt: skip
        self.rates: list[float] = []
        self.expected_last: list[int] = []

    def train(self, step_time: Callable[[int], float], *, stop: int = LENGTH) -> int:
        """Train to the end, or to a step; return the number of the last step."""
        for iteration in count(self.schedule.last_epoch + 1):
            self.rates.append(self.optimizer.param_groups[0]["lr"])
            self.now += (seconds := step_time(iteration))
            self.optimizer.step()
            self.schedule.step()
            step = FinishedStep(
                iteration=iteration, max_iteration=LENGTH, losses={}, finite=torch.tensor(True),
                image_ids=[], lr=0.0, data_time=0.0, step_time=seconds,
            )  # fmt: skip
            self.budget(step)
            self.expected_last.append(step.expected_length)
            if step.is_last or iteration == stop:
                return iteration
        raise AssertionError


@pytest.mark.parametrize("seconds", [10, 60, 500])
def test_slow_steps_end_in_time_with_a_decayed_rate(seconds: float) -> None:
    run = Simulation(seconds)
    last = run.train(lambda iteration: 1.0)
    assert seconds - 1 <= run.now <= seconds and last < LENGTH
    assert run.rates[-1] < 4 / last  # a cosine of `last` steps ends at about (pi / 2 / last)^2
    assert run.rates == sorted(run.rates, reverse=True)


def test_a_run_knows_where_its_time_will_end_it() -> None:
    run = Simulation(60)
    last = run.train(lambda iteration: 1.0)
    assert all(last <= expected <= last + 1 for expected in run.expected_last)
    fast = Simulation(2000)
    fast.train(lambda iteration: 1.0)
    assert set(fast.expected_last) == {LENGTH}


def test_fast_steps_keep_the_length_of_the_schedule() -> None:
    run = Simulation(2000)
    assert run.train(lambda iteration: 1.0) == LENGTH
    assert run.schedule.left_out == 0


def test_a_machine_that_becomes_slow_or_has_pauses_is_caught_up() -> None:
    for step_time in (
        lambda i: 1.0 if i < 100 else 4.0,
        lambda i: 60.0 if i == 50 else 1.0,  # such as an evaluation
        lambda i: 30.0 if i == 1 else 1.0,  # such as a compilation
    ):
        run = Simulation(300)
        run.train(step_time)
        assert 300 - 4 <= run.now <= 300
        assert run.rates[-1] < 0.01


def test_the_first_step_does_not_count_as_the_time_of_all() -> None:
    run = Simulation(300)
    assert run.train(lambda i: 100.0 if i == 1 else 1.0) == 201


def test_time_for_the_evaluation_is_reserved() -> None:
    run = Simulation(100)

    def evaluate() -> str:
        run.now += 2
        return "metrics"

    assert run.budget.measure("evaluation", evaluate, share=0.1) == "metrics"
    run.budget.measure("review", evaluate)
    run.train(lambda iteration: 1.0)
    assert 72 <= run.now <= 100 - 22


@pytest.mark.parametrize("measured_late", [False, True])
def test_slower_steps_reserve_more_time_for_the_evaluation(measured_late: bool) -> None:
    run = Simulation(500)

    def evaluate() -> None:
        run.now += 10

    if measured_late:
        run.train(lambda iteration: 1.0, stop=50)
    run.budget.measure("evaluation", evaluate)
    run.train(lambda iteration: 1.0 if iteration < 100 else 4.0)
    assert 440 <= run.now <= 500 - 40


def test_a_resumed_run_has_the_time_that_was_left() -> None:
    first = Simulation(100)
    first.train(lambda iteration: 1.0, stop=40)
    second = Simulation(100, started=1e6)  # a pause does not count
    second.budget.load_state_dict(first.budget.state_dict())
    second.schedule.load_state_dict(first.schedule.state_dict())
    assert second.schedule.position == first.schedule.position
    assert second.optimizer.param_groups[0]["lr"] == first.optimizer.param_groups[0]["lr"]
    assert second.train(lambda iteration: 1.0) == first.train(lambda iteration: 1.0)
    assert second.rates[-1] == pytest.approx(first.rates[-1])
    assert math.isclose(second.budget.spent, first.budget.spent)
    assert second.budget.is_over
