"""How fast a model is on this machine, stage by stage, and how much of the machine it uses."""

import logging
import math
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from centernet2.builders.loading import StrPath, build_model, load_model, place
from centernet2.config import load_config
from centernet2.devices import Precision
from centernet2.files import write_json
from centernet2.kernels.capabilities import device_name
from centernet2.models.detector import Detector
from centernet2.models.optimize import DTYPES
from centernet2.profiling.costs import input_size
from centernet2.profiling.matmul_peak import Peak, measure_peak
from centernet2.profiling.meter import WARM_UP, Figures, Meter, Shape

logger = logging.getLogger(__name__)

LEAST_SIDE = 32  # pixels
IMPLAUSIBLE_SHARE = (
    2.5  # of the peak: Winograd's algorithm does a quarter of the multiplications that are counted
)


@dataclass(frozen=True)
class Benchmark:
    """A model's figures on this machine, and what they were measured with."""

    config: str
    weights: str | None
    work: str  # inference or training
    dtype: str
    compiled: bool
    device: str
    device_name: str
    threads: int
    versions: dict[str, str]
    parameters: int
    warm_up: int
    runs: int
    peak: Peak
    figures: list[Figures]


def benchmark(
    config_file: StrPath | None = None,
    overrides: Sequence[str] = (),
    *,
    weights: StrPath | None = None,
    device: str | None = None,
    dtype: str = "fp32",
    compile: bool = False,
    batch_sizes: Sequence[int] = (1,),
    sizes: Sequence[str] = (),
    runs: int = 10,
    threads: int | None = None,
    training: bool = False,
    output: StrPath | None = None,
) -> Benchmark:
    """Measures a model on noise, with selections that are full whatever the weights: see `fill_selections`.

    Args:
        config_file, overrides: the settings; without a file those of the checkpoint.
        weights: checkpoint, or zoo:NAME; none: untrained ones, which are as fast.
        device, dtype, compile: see `build_model` and `optimize_for_inference`.
        batch_sizes, sizes: each batch size is measured with each size "HEIGHTxWIDTH"; without sizes with the one for
            testing of an image of 480 x 640.
        runs: passes that count, and as many more for the stages.
        threads: of the CPU; default: as many as PyTorch takes.
        training: measure a training step: forward and backward, without the optimizer.
        output: JSON file for the figures.
    """
    if dtype not in DTYPES:
        raise ValueError(f"--dtype is '{dtype}'; choose one of {', '.join(DTYPES)}")
    _check(batch_sizes, runs=runs, threads=threads)
    wanted = [parse_size(size) for size in sizes]
    with _threads(threads):
        model = _load(config_file, overrides, weights, device, training=training)
        meter = Meter(model, dtype=cast(Precision, dtype), compile=compile, runs=runs)
        shapes = {(n, *size) for n in batch_sizes for size in wanted or [input_size(meter.plan)]}
        # the greatest last: the memory of a process on the CPU is known as its maximum so far
        figures = list(_measure_all(meter, sorted(shapes, key=math.prod)))
        result = _describe(meter, None if weights is None else str(weights), figures)
    if output is not None:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(output), asdict(result), indent=1)
    return result


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from "HEIGHTxWIDTH"."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ValueError(
            f"--sizes has '{text}'; write HEIGHTxWIDTH such as 800x1216 (KEY VALUE pairs stand before it)"
        )
    height, width = int(found[1]), int(found[2])
    if min(height, width) < LEAST_SIDE:
        raise ValueError(f"--sizes has '{text}'; height and width are at least {LEAST_SIDE}")
    return height, width


def _check(batch_sizes: Sequence[int], *, runs: int, threads: int | None) -> None:
    numbers = {"--runs": runs, "--threads": 1 if threads is None else threads}
    numbers |= {"--batch-sizes": min(batch_sizes, default=0)}
    for option, number in numbers.items():
        if number < 1:
            raise ValueError(f"{option} has {number}; it takes numbers from 1 on")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(
    config_file: StrPath | None,
    overrides: Sequence[str],
    weights: StrPath | None,
    device: str | None,
    *,
    training: bool,
) -> Detector:
    """The model in the mode in which it is measured, its weights as they lie in memory in that mode."""
    if config_file is None:
        if weights is None:
            raise ValueError("give a model to measure: --config-file NAME, or --weights CHECKPOINT")
        model = load_model(weights, overrides)
    else:
        config = load_config(config_file, overrides)
        if weights is None:
            config = config.replace({"MODEL.TIMM.PRETRAINED": False})
        torch.manual_seed(0)
        model = build_model(config, weights=weights)
    return place(model.train(training), device)


def _measure_all(meter: Meter, shapes: Sequence[Shape]) -> Iterator[Figures]:
    """The figures of each shape that fits into the device's memory, with a bar of progress or lines of the log."""
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
            f"no batch fits into the memory of {meter.device}; choose smaller --batch-sizes or --sizes"
        )


def _describe(meter: Meter, weights: str | None, figures: Sequence[Figures]) -> Benchmark:
    peak = measure_peak(
        meter.device, DTYPES[meter.dtype]
    )  # after the model: the matrices take memory too
    figures = [each.against(peak) for each in figures]
    if any((each.share_of_peak or 0.0) > IMPLAUSIBLE_SHARE for each in figures):
        logger.warning(
            "the model was faster than the peak: the machine was busy while that was taken; measure again"
        )
    return Benchmark(
        config=meter.config.name,
        weights=weights,
        work="training" if meter.model.training else "inference",
        dtype=meter.dtype,
        compiled=meter.compiled,
        device=str(meter.device),
        device_name=device_name(meter.device),
        threads=torch.get_num_threads(),
        versions={name: version(name) for name in ("torch", "torchvision")}
        | {"python": platform.python_version()},
        parameters=sum(parameter.numel() for parameter in meter.model.parameters()),
        warm_up=WARM_UP,
        runs=meter.runs,
        peak=peak,
        figures=figures,
    )
