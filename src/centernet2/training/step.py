"""The record of a finished training step, and what callbacks are."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass
class FinishedStep:
    """One finished step. A callback may set `stop` to make it the last one."""

    iteration: int  # steps done, this one included
    max_iteration: int  # a time budget may lower it to `iteration`
    losses: dict[str, Tensor]  # [] each, of this process; reading them synchronizes
    finite: Tensor  # [] bool, equal on all processes; False: the step was skipped
    image_ids: list[int | str]  # of this process
    lr: float
    data_time: float  # seconds spent waiting for the batch
    step_time: float  # seconds of the whole step on the host, without callbacks
    stop: bool = False
    expected_last: int | None = None  # iteration at which a time budget will end the run

    @property
    def is_last(self) -> bool:
        return self.stop or self.iteration >= self.max_iteration

    @property
    def expected_length(self) -> int:
        """Iterations of the run, as far as it is known."""
        expected = self.max_iteration if self.expected_last is None else self.expected_last
        return min(expected, self.max_iteration)


Callback = Callable[[FinishedStep], None]
