"""Progress of long work: a bar in a terminal, a line now and then elsewhere."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

LOG_SECONDS = 15  # between two lines
T = TypeVar("T")
logger = logging.getLogger(__name__)


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
        is_shown: False on all processes but one.
    """
    # heavy, and not for other commands
    from rich import get_console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = get_console()  # the one of rich's log handler: lines appear above the bar
    rate_column = TextColumn("{task.fields[rate]}")
    columns = (MofNCompleteColumn(), TextColumn("images"), Remaining(), rate_column)
    done, started = 0, time.monotonic()
    logged = started
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
            done, now = done + images_in(item), time.monotonic()
            rate = done / max(now - started, 1e-6)
            progress.update(task, completed=done, rate=f"{rate:.1f} images/s")
            if is_shown and not console.is_interactive and now - logged > LOG_SECONDS:
                logged = now
                logger.info("%s %s", verbs[1], _describe(done, total, rate))


def _describe(done: int, total: int | None, rate: float) -> str:
    if total is None or done > total:
        return f"{done} images, {rate:.1f}/s"
    return f"{done} of {total} images, {rate:.1f}/s, {(total - done) / rate:.0f} s left"
