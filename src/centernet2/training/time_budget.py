"""A limit on the wall-clock time of a training run, its evaluations included."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple, TypeVar

from centernet2 import distributed
from centernet2.training.schedule import Schedule
from centernet2.training.step import FinishedStep

MEASURED_STEPS = 20  # whose median is the time of a step
FIRST_STEPS = 3  # which do not count until others are measured: they warm up caches
MARGIN = 1.1  # evaluations differ from the last one

Result = TypeVar("Result")


class _Part(NamedTuple):
    """A part of what follows the last step, as measured."""

    seconds: float
    pace: float | None  # seconds of the steps before it, or after it if there were too few


@dataclass(eq=False)
class TimeBudget:
    """Callback that ends training in time for its last evaluation.

    It precedes all callbacks that read it.

    The schedule keeps up with the time: if fewer steps remain in the time than in the schedule,
    each step advances the schedule by more than one iteration, so that the learning rate always
    decays to its end. Steps that are faster than expected change nothing: the schedule ends the
    run before the time does.
    """

    seconds: float  # of the whole run
    schedule: Schedule  # advanced after each step
    _: KW_ONLY
    length: int  # iterations of the schedule
    started: float  # time on the clock at which the run, or its resumption, started
    period: int  # steps after which processes compare clocks; that of the main one is decisive
    clock: Callable[[], float] = time.monotonic  # in seconds

    def __post_init__(self) -> None:
        self._parts: dict[str, _Part] = {}  # of what follows the last step, by name
        self._step_times: deque[float] = deque(maxlen=MEASURED_STEPS)
        self._measured = 0
        self._expected_last: int | None = None

    @property
    def spent(self) -> float:
        """Seconds since the start of the run, without pauses between resumptions."""
        return self.clock() - self.started

    @property
    def reserve(self) -> float:
        """Seconds for what follows the last step: more if steps have become slower."""
        total, after = 0.0, self._pace
        for seconds, before in self._parts.values():
            total += seconds * (max(1.0, after / before) if after and before else 1.0)
        return MARGIN * total

    @property
    def _pace(self) -> float | None:
        """Seconds of a step; None: too few have been measured."""
        is_known = len(self._step_times) == MEASURED_STEPS
        return statistics.median(self._step_times) if is_known else None

    @property
    def left(self) -> float:
        """Seconds for further steps."""
        return self.seconds - self.spent - self.reserve

    @property
    def is_over(self) -> bool:
        """Whether the schedule has reached its end."""
        return self.schedule.position >= self.length

    def __call__(self, step: FinishedStep) -> None:
        self._measured += 1
        if self._measured > FIRST_STEPS:
            self._step_times.append(step.step_time)
        if self._measured == FIRST_STEPS + MEASURED_STEPS:
            self._parts = {k: p._replace(pace=p.pace or self._pace) for k, p in self._parts.items()}
        step.expected_last = self._expected_last
        several = distributed.world_size() > 1
        if several and step.iteration % self.period != 0:
            return
        left, pace = self.left, statistics.median(self._step_times or [step.step_time])
        if several:
            left, pace = distributed.gather_objects((left, pace))[0]
        steps_left = min(self.length - self.schedule.position, max(0.0, left / pace))
        self._expected_last = step.expected_last = step.iteration + int(steps_left)
        steps = self.period if several else 1  # until the next call
        if left < steps * pace:
            self.schedule.advance(self.length - self.schedule.position)
        elif self._step_times:
            per_step = (self.length - self.schedule.position) * pace / left
            self.schedule.advance(steps * max(0.0, per_step - 1))
        if self.is_over:
            step.max_iteration = step.iteration

    def measure(self, part: str, work: Callable[[], Result], *, share: float = 1.0) -> Result:
        """Do a share of a part of what follows the last step; reserve time for all of it."""
        before = self.clock()
        result = work()
        seconds = distributed.gather_objects(self.clock() - before)[0]
        self._parts[part] = _Part(seconds / share, self._pace)
        return result

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Continue with the time that the run had spent at its checkpoint."""
        self.started -= state_dict["spent"]
