"""Progress of long work: a bar in a terminal, a line now and then elsewhere."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

LOG_SECONDS = 15  # between two lines
T = TypeVar("T")
logger = logging.getLogger(__name__)


class ProgressClock:
    """Counts the seconds of some work, and those since the last line about it."""

    def __init__(self) -> None:
        self._start = self._logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._start

    def is_line_due(self) -> bool:
        """Whether it is time for a line; the next one is due LOG_SECONDS later."""
        now = time.monotonic()
        if now - self._logged <= LOG_SECONDS:
            return False
        self._logged = now
        return True


def with_progress(
    items: Iterable[T],
    verbs: tuple[str, str],
    *,
    total: int | None,
    images_in: Callable[[T], int] = lambda item: 1,
    is_shown: bool = True,
) -> Iterator[T]:
    """Yield the items of some work on images, and show its progress.

    Args:
        verbs: what is done, such as ("evaluating", "evaluated").
        total: number of images; None: unknown.
        images_in: number of images of an item.
        is_shown: False on all processes but one.
    """
    # heavy, and not for other commands
    from rich import get_console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = get_console()  # the one of rich's log handler: lines appear above the bar
    rate_column = TextColumn("{task.fields[rate]}")
    columns = (MofNCompleteColumn(), TextColumn("images"), Remaining(), rate_column)
    clock, done = ProgressClock(), 0
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        console=console,
        disable=not (is_shown and console.is_interactive),
    ) as progress:
        task = progress.add_task(verbs[0], total=total, rate="")
        for item in items:
            yield item
            done += images_in(item)
            rate = done / max(clock.seconds, 1e-6)
            progress.update(task, completed=done, rate=f"{rate:.1f} images/s")
            if is_shown and not console.is_interactive and clock.is_line_due():
                logger.info("%s %s", verbs[1], _describe(done, total, rate))


def _describe(done: int, total: int | None, rate: float) -> str:
    if total is None or done > total:
        return f"{done} images, {rate:.1f}/s"
    return f"{done} of {total} images, {rate:.1f}/s, {(total - done) / rate:.0f} s left"
