"""A benchmark as tables for a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from centernet2.profiling.records import Benchmark, ShapeMetrics, Spread


def benchmark_tables(result: Benchmark) -> Group:
    """The conditions, the stages of each shape, and all shapes side by side."""
    stages = [_stages_table(each, result) for each in result.shapes]
    return Group(*(Text(line) for line in _heading(result)), *stages, _shapes_table(result))


def _heading(result: Benchmark) -> Iterator[str]:
    weights = "untrained" if result.weights is None else f"weights {result.weights}"
    compiled = ", compiled" if result.compiled else ""
    threads = f", threads: {result.threads}" if result.device == "cpu" else ""
    yield f"{result.config}, {weights}, {result.parameters / 1e6:.1f} M parameters"
    yield (
        f"{result.work} in {result.dtype}{compiled}, medians of {result.runs} runs, "
        f"torch {result.versions['torch']}"
    )
    yield f"on {result.device} ({result.device_name}{threads})"
    speed, side = result.peak.operations_per_second / 1e9, result.peak.side
    yield f"matrix-multiply peak in {result.dtype}: {speed:,.0f} GFLOP/s, at {side} x {side}"


def _stages_table(metrics: ShapeMetrics, result: Benchmark) -> Table:
    name = f"{metrics.height} x {metrics.width}, batch of {metrics.batch_size}"
    table = Table(
        title=name,
        title_justify="left",
        box=SIMPLE_HEAD,
        caption=_caption(metrics),
        caption_justify="left",
    )
    table.add_column("stage")
    for column in ("ms", "min to max", "share", "GFLOP", "GFLOP/s", "of peak"):
        table.add_column(column, justify="right")
    total = sum(stage.median for stage in metrics.stages.values())
    peak = result.peak.operations_per_second
    for stage, seconds in metrics.stages.items():
        operations = (metrics.operations or {}).get(stage)
        title = stage.replace("_", " ").replace("roi", "RoI")
        table.add_row(title, *_cells(seconds, total, operations, peak))
    operations = None if metrics.operations is None else sum(metrics.operations.values())
    table.add_section()
    table.add_row("whole", *_cells(metrics.seconds, None, operations, peak))
    return table


def _cells(seconds: Spread, total: float | None, operations: int | None, peak: float) -> list[str]:
    low, high = (_milliseconds(each) for each in (seconds.min, seconds.max))
    share = "" if total is None else f"{seconds.median / total:.1%}"
    cells = [_milliseconds(seconds.median), f"{low} to {high}", share]
    if operations is None:
        return [*cells, "", "", ""]
    speed = operations / seconds.median
    return [*cells, f"{operations / 1e9:,.1f}", f"{speed / 1e9:,.0f}", f"{speed / peak:.0%}"]


def _caption(metrics: ShapeMetrics) -> str | None:
    if metrics.selected is None:
        return None
    counts = (metrics.selected.proposals, metrics.selected.detections)
    proposals, detections = (count / metrics.batch_size for count in counts)
    return f"an image has {proposals:.0f} proposals and {detections:.0f} detections"


def _shapes_table(result: Benchmark) -> Table:
    table = Table("input", box=SIMPLE_HEAD)
    for column in ("batch", "ms", "images/s", "GFLOP/s", "of peak", "peak memory"):
        table.add_column(column, justify="right")
    for each in result.shapes:
        speed, share = each.operations_per_second, each.share_of_peak
        table.add_row(
            f"{each.height} x {each.width}",
            str(each.batch_size),
            _milliseconds(each.seconds.median),
            f"{each.images_per_second:.2f}",
            "" if speed is None else f"{speed / 1e9:,.0f}",
            "" if share is None else f"{share:.0%}",
            f"{each.peak_memory / 2**20:,.0f} MiB" if each.peak_memory else "unknown",
        )
    return table


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.{0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2}f}"
