"""Measurement of a detector at several input shapes, collected in one record."""

import logging
import math
import platform
from collections.abc import Collection, Iterator, Sequence

import torch
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from centernet2.models.optimize import DTYPES
from centernet2.profiling import matmul_peak
from centernet2.profiling.meter import WARM_UP_PASSES, InputShape, Meter
from centernet2.profiling.records import Benchmark, ShapeMetrics
from centernet2.versions import installed_versions

logger = logging.getLogger(__name__)

# of the peak: Winograd's algorithm does a quarter of the multiplications that are counted
IMPLAUSIBLE_SHARE = 2.5


def measure_benchmark(
    meter: Meter, shapes: Collection[InputShape], *, weights: str | None, device_name: str
) -> Benchmark:
    """Measure a detector at each shape that fits into memory, and the device's peak.

    `weights` and `device_name` are names for the record.
    """
    # the largest last: on the CPU, peak memory is the maximum of the process so far
    metrics = list(_measure_shapes(meter, sorted(shapes, key=math.prod)))
    # after the detector: the matrices take memory too
    peak = matmul_peak.measure_peak(meter.device, DTYPES[meter.dtype])
    compared = [each.against(peak) for each in metrics]
    if any((each.share_of_peak or 0.0) > IMPLAUSIBLE_SHARE for each in compared):
        logger.warning(
            "the model was faster than the peak: the machine was busy while the peak was "
            "measured; measure again"
        )
    return Benchmark(
        config=meter.model.info.config_name,
        weights=weights,
        work="training" if meter.model.training else "inference",
        dtype=meter.dtype,
        compiled=meter.compiled,
        device=str(meter.device),
        device_name=device_name,
        threads=torch.get_num_threads(),
        versions={
            **installed_versions(("torch", "torchvision")),
            "python": platform.python_version(),
        },
        parameters=sum(parameter.numel() for parameter in meter.model.parameters()),
        warm_up=WARM_UP_PASSES,
        runs=meter.runs,
        peak=peak,
        shapes=compared,
    )


def _measure_shapes(meter: Meter, shapes: Sequence[InputShape]) -> Iterator[ShapeMetrics]:
    """Measure each shape that fits into the device's memory, and show progress."""
    console = get_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("passes"),
    )
    measured = 0
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_interactive
    ) as progress:
        task = progress.add_task("", total=2 * (WARM_UP_PASSES + meter.runs) * len(shapes))
        for shape in shapes:
            name = "{} x {}, batch of {}".format(*shape[1:], shape[0])
            progress.update(task, description=name)
            if meter.compiled or not console.is_interactive:
                logger.info("%s %s", "compiling for" if meter.compiled else "measuring", name)
            try:
                yield meter.measure(shape, lambda: progress.advance(task))
                measured += 1
            except torch.OutOfMemoryError:
                logger.warning(
                    "%s does not fit into the memory of %s and is left out", name, meter.device
                )
    if not measured:
        raise ValueError(
            f"no batch fits into the memory of {meter.device}; "
            "choose smaller --batch-sizes or --sizes"
        )
