"""What happens around the steps: checkpoints, evaluation, signals, the watch over non-finite steps."""

import json
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from centernet2 import distributed
from centernet2.checkpoint.save import numbered_checkpoints
from centernet2.training.state import TrainState
from centernet2.training.writers import Writer

logger = logging.getLogger(__name__)

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start again with --resume


class NonFiniteError(ValueError):
    """Training can only produce further NaN."""


class PeriodicCheckpoint:
    """Saves every `period` steps, after so many `minutes` (0: never), at the end and when training is told to stop.

    `save` gets the number of steps done and returns the file. It runs on every process and writes on the main one,
    whose clock counts; the processes agree on it every `agree_period` steps. The newest `keep` files stay (0: all).
    """

    def __init__(
        self,
        save: Callable[[int], Path],
        *,
        period: int,
        minutes: float,
        agree_period: int,
        keep: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.save = save
        self.period = period
        self.minutes = minutes
        self.agree_period = agree_period
        self.keep = keep
        self.clock = clock
        self._saved_at = clock()

    def __call__(self, state: TrainState) -> None:
        if not (
            state.is_last or state.iteration % self.period == 0 or self._is_time(state.iteration)
        ):
            return
        path = self.save(state.iteration)
        self._saved_at = self.clock()
        if distributed.is_main_process():
            remove_old_checkpoints(path.parent, keep=self.keep)

    def _is_time(self, iteration: int) -> bool:
        if self.minutes <= 0 or iteration % self.agree_period != 0:
            return False
        return distributed.gather_objects(self.clock() - self._saved_at)[0] >= 60 * self.minutes


def remove_old_checkpoints(folder: Path, *, keep: int) -> None:
    """Deletes all but the newest numbered checkpoints (0: none of them); model_final.pth and the like stay."""
    for path in numbered_checkpoints(folder)[:-keep] if keep > 0 else []:
        path.unlink(missing_ok=True)


class PeriodicEvaluation:
    """Evaluates every `period` steps (0: never between) and after the last one, or not at all where it is negative.

    `results` holds the newest figures.

    Args:
        evaluate: gives figures, or None where a signal has ended it: then training stops as well.
        writers: receive the figures.
        period: in steps.
        review: gets the step and the figures, or None, and may stop training.
    """

    def __init__(
        self,
        evaluate: Callable[[], Mapping[str, float] | None],
        *,
        writers: Sequence[Writer],
        period: int,
        review: Callable[[TrainState, Mapping[str, float] | None], None],
    ) -> None:
        self.evaluate = evaluate
        self.writers = writers
        self.period = period
        self.review = review
        self.results: dict[str, float] = {}

    def __call__(self, state: TrainState) -> None:
        due = self.period > 0 and state.iteration % self.period == 0
        if self.period < 0 or state.stop or not (due or state.is_last):
            return
        results = self.evaluate()
        if results is None:
            state.stop = True
        else:
            self.results = dict(results)
            line = {
                "iteration": state.iteration,
                **{f"eval/{name}": value for name, value in results.items()},
            }
            for writer in self.writers:
                writer.write(line)
        self.review(state, results)


class BestResult:
    """Saves the weights with the highest figure; stops training when none was higher in `patience` evaluations.

    Args:
        names: of the figures that compete, such as those of the raw and of the averaged weights.
        save: gets the name of the best figure so far, the step and all figures; runs on every process.
        patience: 0 never stops.
    """

    def __init__(
        self,
        names: Sequence[str],
        save: Callable[[str, int, Mapping[str, float]], None],
        *,
        patience: int,
    ) -> None:
        self.names = names
        self.save = save
        self.patience = patience
        self.best = -math.inf
        self.waited = 0  # evaluations since the best one
        self.iteration = 0  # of the newest evaluation

    def __call__(self, state: TrainState, results: Mapping[str, float]) -> None:
        figures = {
            name: results[name] for name in self.names if math.isfinite(results.get(name, math.nan))
        }
        self.iteration = state.iteration
        name = max(figures, key=lambda name: figures[name], default=self.names[0])
        if figures.get(name, -math.inf) > self.best:
            self.best, self.waited = figures[name], 0
            self.save(name, state.iteration, results)
            return
        self.waited += 1
        if 0 < self.patience <= self.waited:
            logger.warning(
                "%s was not above %.2f in %d evaluations: training stops.",
                name,
                self.best,
                self.waited,
            )
            state.stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "iteration": self.iteration}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        self.best, self.waited, self.iteration = (
            state_dict[key] for key in ("best", "waited", "iteration")
        )


class StopOnSignal:
    """Lets SIGTERM and SIGINT end training after the step that is under way. Stands first among the callbacks.

    An evaluation asks `received` as well, and ends after the batch that is under way.

    The signal may reach the processes in different steps. They agree every `period` steps, so that none waits for
    a step that another does not take.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, *, period: int) -> None:
        self.period = period
        self.received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        if (
            threading.current_thread() is threading.main_thread()
        ):  # Python gives signals to no other
            self._previous = {
                number: signal.signal(number, self._receive) for number in self.SIGNALS
            }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # The workers of the data loader inherit this handler and so survive a signal to the whole process group.
        self.received = True

    def __call__(self, state: TrainState) -> None:
        if distributed.world_size() > 1 and state.iteration % self.period != 0:
            return
        self.received = any(distributed.gather_objects(self.received))
        if self.received:
            logger.warning("Told to stop after iteration %d; saving.", state.iteration)
            state.stop = True


class NonFiniteGuard:
    """Counts the skipped steps, writes what was in them to a file and ends a training in which nothing else is left.

    It looks back once in `period` steps: a skipped step has changed nothing, so there is no hurry that would be worth
    a wait for the device in each step.
    """

    def __init__(self, path: Path, *, limit: int, period: int) -> None:
        self.path = path
        self.limit = limit
        self.period = period
        self.skipped = 0
        self.in_a_row = 0
        self._pending: list[TrainState] = []

    def __call__(self, state: TrainState) -> None:
        self._pending.append(state)
        if state.is_last or state.iteration % self.period == 0:
            pending, self._pending = self._pending, []
            finite = torch.stack([step.finite for step in pending]).tolist()
            for step, is_finite in zip(pending, finite, strict=True):
                self._review(step, is_finite)

    def _review(self, step: TrainState, is_finite: bool) -> None:
        if is_finite:
            self.in_a_row = 0
            return
        self.skipped += 1
        self.in_a_row += 1
        self._record(step)
        logger.warning(
            "Iteration %d was skipped: its loss or gradient is not finite.", step.iteration
        )
        if self.in_a_row >= self.limit:
            raise NonFiniteError(
                f"the loss or the gradient was not finite in {self.in_a_row} steps in a row, up to iteration "
                f"{step.iteration}; the images and losses of all skipped steps are listed in {self.path}. "
                "A lower SOLVER.BASE_LR, a longer warm-up or gradient clipping may help"
            )

    def _record(self, step: TrainState) -> None:
        record: dict[str, Any] = {
            "iteration": step.iteration,
            "rank": distributed.rank(),
            "image_ids": step.image_ids,
            "losses": {name: _json_number(loss.item()) for name, loss in step.losses.items()},
        }
        records = distributed.gather_objects(record)
        if distributed.is_main_process():
            with self.path.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in records)


def _json_number(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)
