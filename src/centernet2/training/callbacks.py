"""Callbacks after each training step: checkpoints, evaluation, signals."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from centernet2 import distributed
from centernet2.checkpoint.checkpoint import numbered_checkpoints
from centernet2.training.step import FinishedStep
from centernet2.training.writers import Writer

logger = logging.getLogger(__name__)

# of data, disks and other processes; all others are bugs
EXPECTED_ERRORS = (ValueError, OSError, distributed.OtherProcessError)


@dataclass(eq=False)
class PeriodicCheckpoint:
    """Save a checkpoint every `period` steps, every so many minutes, and at the end."""

    # called on every process with the number of steps done; the main one returns the file
    save: Callable[[int], Path]
    _: KW_ONLY
    period: int  # in steps
    minutes: float  # in addition to `period`; 0: never. The clock of the main process is decisive
    agree_period: int  # steps after which the processes compare their clocks
    keep: int  # number of checkpoints to keep, newest first; 0: all
    clock: Callable[[], float] = time.monotonic  # in seconds
    saved_iteration: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self._saved_at = self.clock()

    def __call__(self, step: FinishedStep) -> None:
        iteration = step.iteration
        if step.is_last or iteration % self.period == 0 or self._is_time(iteration):
            self.save_now(iteration)

    def save_now(self, iteration: int) -> None:
        """Save a checkpoint and delete the oldest ones."""
        path = self.save(iteration)
        self.saved_iteration = iteration
        self._saved_at = self.clock()
        if distributed.is_main_process():
            remove_old_checkpoints(path.parent, keep=self.keep)

    def _is_time(self, iteration: int) -> bool:
        if self.minutes <= 0 or iteration % self.agree_period != 0:
            return False
        return distributed.gather_objects(self.clock() - self._saved_at)[0] >= 60 * self.minutes


def remove_old_checkpoints(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` numbered checkpoints (0: keep all)."""
    for path in numbered_checkpoints(folder)[:-keep] if keep > 0 else []:
        path.unlink(missing_ok=True)


@dataclass(eq=False)
class PeriodicEvaluation:
    """Evaluate every `period` steps and after the last one.

    `results` holds the newest metrics. An evaluation that fails is logged and does not end the
    training: `failure` holds its error until another succeeds. Metrics that `review` fails to
    record stay valid. `evaluate` and `review` must fail on all processes or on none.
    """

    evaluate: Callable[[], Mapping[str, float] | None]  # None: a signal has interrupted it
    _: KW_ONLY
    writers: Sequence[Writer]  # receive the metrics
    period: int  # in steps; 0: only after the last step; negative: never
    # gets the iteration and its metrics; returns whether training should stop
    review: Callable[[int, Mapping[str, float]], bool]
    results: dict[str, float] = field(default_factory=dict, init=False)
    failure: Exception | None = field(default=None, init=False)

    def __call__(self, step: FinishedStep) -> None:
        if not step.stop and self.is_due(step.iteration, step.max_iteration):
            step.stop = self.run(step.iteration)

    def is_due(self, iteration: int, max_iteration: int) -> bool:
        """Whether an evaluation follows this step."""
        if self.period < 0:
            return False
        return iteration >= max_iteration or (self.period > 0 and iteration % self.period == 0)

    def run(self, iteration: int) -> bool:
        """Evaluate and record the metrics; return whether training should stop."""
        results = self._evaluate(iteration)
        if results is None:
            return self.failure is None  # interrupted
        line = {f"eval/{name}": value for name, value in results.items()}
        for writer in self.writers:
            writer.write({"iteration": iteration, **line})
        try:
            return self.review(iteration, results)
        except Exception as error:
            words = f"the metrics after iteration {iteration} could not be recorded"
            _log_error(words, error)
            return False

    def repeat(self, iteration: int) -> None:
        """Evaluate for the results alone, which a resumed run does not have."""
        self._evaluate(iteration)

    def _evaluate(self, iteration: int) -> Mapping[str, float] | None:
        """Return the metrics; None if the evaluation failed or was interrupted."""
        self.results, self.failure = {}, None
        try:
            results = self.evaluate()
        except Exception as error:
            self.failure = error
            _log_error(f"the evaluation after iteration {iteration} failed", error)
            return None
        self.results = dict(results or {})
        return results


def _log_error(words: str, error: Exception) -> None:
    """Log an error, and free its frames.

    The frames hold worker processes and tensors on the device.
    """
    if not isinstance(error, EXPECTED_ERRORS):
        logger.exception("%s: %s", words, error)  # a bug: its traceback is needed
    elif distributed.is_main_process():
        logger.error("%s: %s", words, error)
    each: BaseException | None = error
    while each is not None and each.__traceback__ is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__


class StopOnSignal:
    """Stop training after the current step on SIGTERM or SIGINT; the first callback.

    Evaluation checks `received` too, and ends after its current batch.

    The signal may reach the processes in different steps. They agree every `period` steps, so that
    all of them stop after one step and none waits for another.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, *, period: int) -> None:
        self.period = period
        self.received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._receive) for number in self.SIGNALS
            }
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def __call__(self, step: FinishedStep) -> None:
        if distributed.world_size() > 1 and step.iteration % self.period != 0:
            return
        if self.agree():
            logger.warning("Told to stop after iteration %d; saving.", step.iteration)
            step.stop = True

    def agree(self) -> bool:
        """Whether any process has received a signal; call it on all processes."""
        self.received = any(distributed.gather_objects(self.received))
        return self.received
