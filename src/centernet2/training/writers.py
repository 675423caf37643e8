"""Writers of metrics: log, progress bar, metrics.jsonl, TensorBoard, trackers."""

import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from centernet2 import distributed
from centernet2.devices import peak_memory
from centernet2.files import write_atomic
from centernet2.training.step import FinishedStep

logger = logging.getLogger(__name__)

# with the key "iteration"; None if no step since the last line had a finite value
Metrics = Mapping[str, float | None]


class Writer(Protocol):
    """Receiver of metrics."""

    def write(self, metrics: Metrics) -> None: ...

    def close(self) -> None: ...


class GuardedWriter:
    """Pass metrics on; log a writer's first error, and do not end training for it."""

    def __init__(self, name: str, writer: Writer) -> None:
        self.name = name
        self.writer = writer
        self.has_failed = False

    def write(self, metrics: Metrics) -> None:
        try:
            self.writer.write(metrics)
        except Exception as error:  # its type differs by tracker
            self._report(error)

    def close(self) -> None:
        try:
            self.writer.close()
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        if not self.has_failed:
            logger.warning(
                "metrics could not be written to %s (%s: %s); training goes on, and later metrics "
                "are tried again",
                self.name, type(error).__name__, " ".join(str(error).split()),
            )  # fmt: skip
        self.has_failed = True


class MetricsLogger:
    """Read the losses from the device every `period` steps and write their medians.

    It runs on every process, because the losses are averaged over processes. It should be the first
    callback that reads from the device: the wait then counts as step time.
    """

    def __init__(self, writers: Sequence[Writer], *, period: int, device: torch.device) -> None:
        self.writers = writers
        self.period = period
        self.device = device
        self._window: list[FinishedStep] = []

    def __call__(self, step: FinishedStep) -> None:
        self._window.append(step)
        if step.is_last or step.iteration % self.period == 0:
            window, self._window = self._window, []
            metrics = summarize(window, device=self.device)
            for writer in self.writers:
                writer.write(metrics)


def summarize(window: Sequence[FinishedStep], *, device: torch.device) -> dict[str, float | None]:
    """Return metrics of consecutive steps: means over processes, medians over steps."""
    started = time.perf_counter()
    columns = torch.stack(
        [torch.stack([*step.losses.values(), step.finite.float()]) for step in window]
    )
    # a single transfer; each list has one value per step
    *losses, finite = distributed.reduce_mean(columns).T.tolist()
    seconds = sum(step.step_time for step in window) + time.perf_counter() - started
    images = sum(len(step.image_ids) for step in window) * distributed.world_size()
    last = window[-1]
    return {
        "iteration": last.iteration,
        "total_loss": finite_median([sum(of_step) for of_step in zip(*losses, strict=True)]),
        **{name: finite_median(values) for name, values in zip(last.losses, losses, strict=True)},
        "lr": last.lr,
        "images_per_second": images / seconds,
        "data_time": statistics.median(step.data_time for step in window),
        "time": seconds / len(window),
        "eta_seconds": seconds / len(window) * (last.expected_length - last.iteration),
        "skipped_steps": len(window) - int(sum(finite)),
        "peak_memory_mb": peak_memory(device) / 2**20,
    }


def finite_median(values: Sequence[float]) -> float | None:
    """Return the median of the finite values; None if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else None


class JsonlWriter:
    """Write one JSON object per line.

    A resumed training run keeps the lines up to its first step and drops later ones, which it
    writes again.
    """

    def __init__(self, path: Path, *, start_iteration: int) -> None:
        kept = _lines_until(path, start_iteration)
        write_atomic(path, "".join(kept))
        self._file = path.open("a", buffering=1)  # line-buffered

    def write(self, metrics: Metrics) -> None:
        self._file.write(json.dumps(metrics) + "\n")

    def close(self) -> None:
        self._file.close()


def _lines_until(path: Path, iteration: int) -> list[str]:
    """Return the complete lines of a metrics file up to an iteration."""
    if iteration == 0 or not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and _iteration_of(line) <= iteration]


def _iteration_of(line: str) -> float:
    """Return the iteration of a line of metrics; infinity for a damaged one.

    A training run that was killed while writing, or a full disk, leaves an incomplete line.
    """
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, TypeError, KeyError):
        return math.inf


class TensorBoardWriter:
    """Write event files for TensorBoard."""

    def __init__(self, folder: Path, *, start_iteration: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        self._writer = SummaryWriter(str(folder), purge_step=start_iteration + 1)

    def write(self, metrics: Metrics) -> None:
        for name, value in _curves(metrics).items():
            self._writer.add_scalar(name, value, metrics["iteration"])

    def close(self) -> None:
        self._writer.close()


def _curves(metrics: Metrics) -> dict[str, float]:
    """Return the values to plot by iteration, those of training in their own group."""
    return {
        name if "/" in name else f"train/{name}": value
        for name, value in metrics.items()
        if name != "iteration" and value is not None
    }


class LogWriter:
    """Write metrics as a line of the log.

    Metrics of single classes (eval/bbox/AP/person) are left out: there may be a thousand.
    """

    def write(self, metrics: Metrics) -> None:
        logger.info(
            format_metrics({name: value for name, value in metrics.items() if "/AP/" not in name})
        )

    def close(self) -> None:
        pass


def format_metrics(metrics: Metrics) -> str:
    """Format metrics as one line of text."""
    return "  ".join(f"{name} {_format_value(name, value)}" for name, value in metrics.items())


def _format_value(name: str, value: float | None) -> str:
    if value is None:
        return "not finite"
    if name == "eta_seconds":
        return str(timedelta(seconds=int(value)))
    return f"{value:d}" if isinstance(value, int) else f"{value:.4g}"


class ProgressBar:
    """A progress bar in the terminal: a callback (progress) and a writer (metrics)."""

    SHOWN = ("total_loss", "lr", "images_per_second", "data_time", "peak_memory_mb", "eta_seconds")

    def __init__(self, *, start_iteration: int, max_iteration: int) -> None:
        console = get_console()  # that of rich's log handler: log lines appear above the bar
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=console,
            disable=not (console.is_interactive and distributed.is_main_process()),
        )
        self._task = self._progress.add_task(
            "", completed=start_iteration, total=max_iteration, metrics=""
        )

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, step: FinishedStep) -> None:
        self._progress.update(self._task, completed=step.iteration, total=step.expected_length)

    def write(self, metrics: Metrics) -> None:
        if "total_loss" in metrics:
            self._progress.update(
                self._task, metrics=format_metrics({name: metrics[name] for name in self.SHOWN})
            )

    def close(self) -> None:
        self._progress.stop()


class TrackerWriter:
    """Write to an experiment tracker of accelerate: wandb, mlflow, aim, clearml ...

    A resumed training run is a new run in the tracker; its iterations continue.
    """

    def __init__(self, name: str, folder: Path, *, config: Mapping[str, object]) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(
                f"trackers names '{name}'; choose among {', '.join(map(str, LOGGER_TYPE_TO_CLASS))}"
            )
        kind = LOGGER_TYPE_TO_CLASS[name]
        options = {"logging_dir": str(folder)} if kind.requires_logging_directory else {}
        try:
            self._tracker = kind("centernet2", **options)
            self._tracker.start()
            self._tracker.store_init_configuration(_flat(config))
        except ImportError as error:
            raise ValueError(
                f"trackers names '{name}': {error}; pip install 'centernet2[{name}]' or {name}"
            ) from None
        except Exception as error:  # its type differs by tracker: no login, server or network
            reason = " ".join(str(error).split())
            raise ValueError(
                f"trackers names '{name}', which does not start and may be left out: {reason}"
            ) from error

    def write(self, metrics: Metrics) -> None:
        self._tracker.log(_curves(metrics), step=int(metrics["iteration"] or 0))

    def close(self) -> None:
        self._tracker.finish()


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten nested options to dotted keys; lists become text, which trackers expect."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = (
                str(value) if isinstance(value, list) or value is None else value
            )
    return flat


@contextmanager
def open_writers(
    folder: Path, *, start_iteration: int, trackers: Sequence[str], config: Mapping[str, object]
) -> Iterator[list[Writer]]:
    """Open all writers on the main process, none on others; the context closes them.

    Args:
        folder: for metrics.jsonl and the files of TensorBoard and trackers.
        trackers: names of experiment trackers.
        config: recorded by the trackers.
    """
    if not distributed.is_main_process():
        yield []
        return
    with ExitStack() as stack:
        lines, events = folder / "metrics.jsonl", folder / "tensorboard"
        makers: dict[str, Callable[[], Writer]] = {
            "the log": LogWriter,
            str(lines): partial(JsonlWriter, lines, start_iteration=start_iteration),
            str(events): partial(TensorBoardWriter, events, start_iteration=start_iteration),
            **{name: partial(TrackerWriter, name, folder, config=config) for name in trackers},
        }
        writers: list[Writer] = []
        for name, make in makers.items():
            writers.append(GuardedWriter(name, make()))
            stack.callback(writers[-1].close)
        yield writers
