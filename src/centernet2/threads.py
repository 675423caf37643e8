"""How many threads compute on the CPU.

`choose_threads` is called by the command line alone, before PyTorch starts its threads. It sets
environment variables that are not set yet. Nothing is chosen for those who import the package.

On a machine that other programs use, a thread whose core is taken keeps all others waiting.
`ThreadsByLoad` therefore leaves busy cores to the other programs.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

NUMBER = "OMP_NUM_THREADS"  # variable of OpenMP
ADAPTATION = "CENTERNET2_THREADS"
BY_LOAD, BY_QUOTA, FIXED = "by-load", "by-quota", "fixed"  # its values
GROUPS = Path("/sys/fs/cgroup")  # the control groups, of version 1 or 2
OWN_GROUPS = Path("/proc/self/cgroup")  # those of this process, as ID:CONTROLLERS:NAME
PERIOD = 1.0  # seconds between two looks at the load
MARGIN = 0.2  # of a core that others may use of one that a thread takes
Item = TypeVar("Item")
logger = logging.getLogger(__name__)


def choose_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set how many threads there are, unless the environment says it."""
    if NUMBER in environment:
        environment.setdefault(ADAPTATION, FIXED)
    elif (cores := usable_cores()) < present_cores():
        environment[NUMBER] = str(cores)
        environment.setdefault(ADAPTATION, BY_QUOTA)
    else:
        environment.setdefault(ADAPTATION, BY_LOAD)


def divide_threads(processes: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Give each process of a job its share of the cores, unless a user set the number."""
    if NUMBER not in environment or environment.get(ADAPTATION) == BY_QUOTA:
        environment[NUMBER] = str(max(1, usable_cores() // processes))


def describe_threads(environment: Mapping[str, str] = os.environ) -> str:
    """Say how many threads there are, and why."""
    cores, present, quota = usable_cores(), present_cores(), cpu_quota()
    number = environment.get(NUMBER)
    why = f"{NUMBER} is {number}" if number else f"the number of cores is {present}"
    if quota is not None and cores < present:
        why += f", and the control group allows the time of {quota:g}"
    adaptation = environment.get(ADAPTATION, FIXED)
    if adaptation == BY_LOAD:
        why += "; in long runs fewer while other programs use the cores"
    return why


def present_cores() -> int:
    """Return the number of cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_cores() -> int:
    """Return the number of cores that this process may use, at most its quota."""
    quota = cpu_quota()
    return present_cores() if quota is None else max(1, min(present_cores(), int(quota)))


def cpu_quota() -> float | None:
    """Return the cores whose time the control groups of this process allow; None: all."""
    quotas = []
    for line in _read(OWN_GROUPS).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = GROUPS / "cpu" if controllers else GROUPS
        folder = root / name.lstrip("/")
        while True:  # a group obeys those that contain it
            quotas += _quota_of(folder)
            if folder in (root, folder.parent):
                break
            folder = folder.parent
    return min(quotas, default=None)


def _quota_of(folder: Path) -> list[float]:
    """Return the quota of a control group as a list; empty: it has none."""
    words = _read(folder / "cpu.max").split()
    words = words or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdigit() for word in words):  # "max" and -1 are no limits
        return []
    return [int(words[0]) / int(words[1])]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Set the number of PyTorch's threads in a block; None: as many as it has.

    A predictor of an exported file is loaded with its threads, without PyTorch.
    """
    torch = sys.modules.get("torch")
    if count is None or torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ProcessorTime(NamedTuple):
    """Seconds since some moment."""

    elapsed: float
    busy: float  # of all cores on which this process may run
    own: float  # of those who measure
    cores: int


def processor_time() -> ProcessorTime:
    """Measure the processor time of the cores and of this process alone."""
    return ProcessorTime(time.monotonic(), busy_time(), time.process_time(), present_cores())


def busy_time() -> float:
    """Return the time for which the cores have worked on which this process may run."""
    import psutil  # type: ignore[import-untyped]  # not for --help

    cores = [each._asdict() for each in psutil.cpu_times(percpu=True)]
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(cores))
    own = (cores[core] for core in allowed if core < len(cores))
    idle = ("idle", "iowait", "guest", "guest_nice")  # guests are part of the user's
    return float(sum(value for each in own for name, value in each.items() if name not in idle))


class ThreadsByLoad:
    """Set PyTorch's number of threads by the cores that other processes leave free.

    Those that load the data are other processes, too. Nothing changes unless `choose_threads` or
    the environment asks for it.
    """

    def __init__(
        self, *, is_on: bool = True, measure: Callable[[], ProcessorTime] = processor_time
    ) -> None:
        self._measure = measure
        self._torch: Any = sys.modules.get("torch")
        self._most = 1 if self._torch is None else self._torch.get_num_threads()
        self._is_on = is_on and self._most > 1 and os.environ.get(ADAPTATION) == BY_LOAD
        self._before: ProcessorTime | None = None
        self._looked = time.monotonic()

    def update(self) -> None:
        """Look at the load, if the last look was long enough ago."""
        if not self._is_on or time.monotonic() - self._looked < PERIOD:
            return
        self._looked = time.monotonic()
        before, self._before = self._before, self._measure()
        if before is not None:
            self._adapt(before, self._before)

    def adapt_between(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, and look at the load after the work on each.

        At the end the number is what it was: others may follow, such as a second evaluation.
        """
        try:
            for item in items:
                yield item
                self.update()
        finally:
            if self._is_on:
                self._torch.set_num_threads(self._most)

    def _adapt(self, before: ProcessorTime, now: ProcessorTime) -> None:
        others = (now.busy - before.busy) - (now.own - before.own)
        free = now.cores - others / (now.elapsed - before.elapsed)
        count = self._torch.get_num_threads()
        wanted = round(free) if free < count else int(free + MARGIN)
        wanted = min(self._most, max(1, wanted))
        if wanted != count:
            logger.debug("%.1f cores are free: %d threads instead of %d", free, wanted, count)
            self._torch.set_num_threads(wanted)
