"""The command `benchmark`: how fast a model is on this machine, stage by stage."""

from __future__ import annotations

import logging
import math
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    Flag,
    InferenceOptions,
    Overrides,
    PathArgument,
    WeightsArgument,
)

if TYPE_CHECKING:
    from centernet2.devices import Precision
    from centernet2.models.detector import Detector
    from centernet2.profiling.meter import InputShape, Meter
    from centernet2.profiling.records import Benchmark, ShapeMetrics

logger = logging.getLogger(__name__)

Several = Parameter(consume_multiple=True, negative=())
MIN_SIDE = 32  # pixels
# of the peak: Winograd's algorithm does a quarter of the multiplications that are counted
IMPLAUSIBLE_SHARE = 2.5


def benchmark(
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    *overrides: Overrides,
    weights: WeightsArgument | None = None,
    batch_sizes: Annotated[tuple[int, ...], Several] = (1,),
    sizes: Annotated[tuple[str, ...], Several] = (),
    runs: int = 10,
    threads: int | None = None,
    training: Flag = False,
    output: PathArgument | None = None,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> Benchmark:
    """Measure a model's speed here: stages, images/s, memory, share of the peak.

    The images are noise; all selections are full, whatever the weights: see `fill_selections`.

    Parameters
    ----------
    config
        Path or name of the config; one of our checkpoints and zoo:NAME need none.
    weights
        The checkpoint, or zoo:NAME of a published model; default: untrained, which is as fast.
    batch_sizes
        Images that go through the model together, one number or several: 1 2 4. KEY VALUE pairs
        stand before it.
    sizes
        HEIGHTxWIDTH, one or several: 640x640 800x1216; default: the test size of an image of
        480 x 640.
    runs
        Measured passes, after two for warm-up.
    threads
        CPU threads; default: PyTorch's.
    training
        Measure a training step, forward and backward, in place of inference.
    output
        JSON file for the results.
    """
    from centernet2.builders.loading import build_on_meta, config_of
    from centernet2.files import write_json
    from centernet2.models.optimize import DTYPES
    from centernet2.profiling.meter import Meter
    from centernet2.profiling.operations import input_size

    dtype = inference.dtype
    if dtype not in DTYPES:
        raise ValueError(f"--dtype is '{dtype}'; choose one of {', '.join(DTYPES)}")
    _require_positive(batch_sizes, runs=runs, threads=threads)
    wanted = [parse_size(size) for size in sizes]
    with _limit_threads(threads):
        model = _load(config, overrides, weights, inference.device, training=training)
        plan = build_on_meta(config_of(model.info))
        meter = Meter(
            model, plan, dtype=cast("Precision", dtype), compile=inference.compile, runs=runs
        )
        shapes = {(n, *size) for n in batch_sizes for size in wanted or [input_size(plan)]}
        # the largest last: on the CPU the memory of a process is known as its maximum so far
        metrics = list(_measure_all(meter, sorted(shapes, key=math.prod)))
        result = _describe(meter, None if weights is None else str(weights), metrics)
    if output is not None:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(output), asdict(result), indent=1)
    return result


def parse_size(text: str) -> tuple[int, int]:
    """Parse "HEIGHTxWIDTH"."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ValueError(
            f"--sizes has '{text}'; write HEIGHTxWIDTH such as 800x1216 "
            "(KEY VALUE pairs stand before it)"
        )
    height, width = int(found[1]), int(found[2])
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"--sizes has '{text}'; height and width are at least {MIN_SIDE}")
    return height, width


def _require_positive(batch_sizes: Sequence[int], *, runs: int, threads: int | None) -> None:
    numbers = {"--runs": runs, "--threads": 1 if threads is None else threads}
    numbers |= {"--batch-sizes": min(batch_sizes, default=0)}
    for option, number in numbers.items():
        if number < 1:
            raise ValueError(f"{option} has {number}; it takes numbers from 1 on")


@contextmanager
def _limit_threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(
    config: ConfigArgument | None,
    overrides: Sequence[str],
    weights: WeightsArgument | None,
    device: str | None,
    *,
    training: bool,
) -> Detector:
    """Load the model in the mode that is measured, in that mode's memory format."""
    import torch

    from centernet2.builders.loading import (
        as_config,
        build_model,
        config_of,
        device_for,
        load_model,
        place,
    )

    if config is None:
        if weights is None:
            raise ValueError("give a model to measure: --config-file NAME, or --weights CHECKPOINT")
        model = load_model(weights, overrides)
    else:
        options = as_config(config).override(overrides)
        if weights is None:
            options = options.replace({"MODEL.TIMM.PRETRAINED": False})
        torch.manual_seed(0)
        model = build_model(options, weights=weights)
    return place(model.train(training), device_for(config_of(model.info), device))


def _measure_all(meter: Meter, shapes: Sequence[InputShape]) -> Iterator[ShapeMetrics]:
    """Measure each shape that fits into the device's memory, and show progress."""
    import torch
    from rich import get_console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from centernet2.profiling.meter import WARM_UP

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
        task = progress.add_task("", total=2 * (WARM_UP + meter.runs) * len(shapes))
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


def _describe(meter: Meter, weights: str | None, metrics: Sequence[ShapeMetrics]) -> Benchmark:
    import torch

    from centernet2.kernels import device_name
    from centernet2.models.optimize import DTYPES
    from centernet2.profiling.matmul_peak import measure_peak
    from centernet2.profiling.meter import WARM_UP
    from centernet2.profiling.records import Benchmark

    # after the model: the matrices take memory too
    peak = measure_peak(meter.device, DTYPES[meter.dtype])
    shapes = [each.against(peak) for each in metrics]
    if any((each.share_of_peak or 0.0) > IMPLAUSIBLE_SHARE for each in shapes):
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
        device_name=device_name(meter.device),
        threads=torch.get_num_threads(),
        versions={
            "torch": version("torch"),
            "torchvision": version("torchvision"),
            "python": platform.python_version(),
        },
        parameters=sum(parameter.numel() for parameter in meter.model.parameters()),
        warm_up=WARM_UP,
        runs=meter.runs,
        peak=peak,
        shapes=shapes,
    )
