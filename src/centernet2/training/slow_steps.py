"""Warn when steps take much longer than the first ones because cores are busy.

What is measured: the medians of the time of a step, over the first WINDOW steps after WARM_UP_STEPS
and over the last WINDOW steps; and, over the same last steps, the time for which the cores that
this process may use worked for other programs. That is their busy time, as the system counts it,
less the processor time of this training run: of this process, the others on its machine, and the
workers of all.
"""

import logging
import statistics
from collections import deque
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]

from centernet2.distributed import is_main_process, world_size
from centernet2.threads import ProcessorTime, processor_time
from centernet2.training.step import FinishedStep

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 10  # steps; the first ones allocate memory and choose kernels
WINDOW = 20  # steps
SLOW = 2.0  # times the time of the first steps
BUSY_SHARE = 0.2  # of the cores


class SlowSteps:
    """Warn once if steps have become slow while other programs use the cores.

    Args:
        measure: returns times, of which differences are taken.
    """

    def __init__(self, measure: Callable[[], ProcessorTime] | None = None) -> None:
        self.measure = measure or run_time
        self.warned = False
        self._seen = 0
        self._first = 0.0
        self._times: deque[float] = deque(maxlen=WINDOW)
        self._before: ProcessorTime | None = None

    def __call__(self, step: FinishedStep) -> None:
        self._seen += 1
        if self.warned or self._seen <= WARM_UP_STEPS or not is_main_process():
            return
        self._times.append(step.step_time)
        if (self._seen - WARM_UP_STEPS) % WINDOW:
            return
        before, self._before = self._before, self.measure()
        median = statistics.median(self._times)
        if before is None:
            self._first = median
        elif median > SLOW * self._first:
            self._warn_if_busy(step.iteration, median, before, self._before)

    def _warn_if_busy(
        self, iteration: int, median: float, before: ProcessorTime, now: ProcessorTime
    ) -> None:
        elapsed = max(now.elapsed - before.elapsed, 1e-6)
        others = ((now.busy - before.busy) - (now.own - before.own)) / elapsed
        if others < BUSY_SHARE * now.cores:
            return
        self.warned = True
        logger.warning(
            "iteration %d: steps take %.1f times as long as the first ones (%.3g s, %.3g s), "
            "while other programs use %.1f of the %d cores",
            iteration,
            median / self._first,
            median,
            self._first,
            others,
            now.cores,
        )


def run_time() -> ProcessorTime:
    """Measure the processor time of the cores and of this training run."""
    return processor_time()._replace(own=_own_time())


def _own_time() -> float:
    process = psutil.Process()
    launcher = process.parent() if world_size() > 1 else None  # it has started all on this machine
    root = launcher or process
    own = 0.0
    for each in (root, *root.children(recursive=True)):
        try:
            used = each.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        own += used.user + used.system
        # of children that have ended, such as the workers of an evaluation
        own += getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return own
