"""The command `benchmark`: measure the speed of a model on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from centernet2.arguments import ArgumentValueError, checked
from centernet2.jobs import (
    DEFAULT_INFERENCE,
    ConfigArgument,
    Flag,
    InferenceOptions,
    OverridePairs,
    PathArgument,
    WeightsArgument,
)
from centernet2.option_groups import DEVICE, MEASUREMENT
from centernet2.ranges import at_least
from centernet2.usage import KEY

if TYPE_CHECKING:
    from centernet2.devices import Precision
    from centernet2.models.detector import Detector
    from centernet2.profiling.records import Benchmark

Measured = Parameter(group=MEASUREMENT)
Several = Parameter(consume_multiple=1, group=MEASUREMENT, negative=())
MIN_SIDE = 32  # pixels


@checked(runs=at_least(1), threads=at_least(1))
def benchmark(
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    *overrides: OverridePairs,
    weights: WeightsArgument | None = None,
    batch_sizes: Annotated[tuple[int, ...], Several] = (1,),
    sizes: Annotated[tuple[str, ...], Several] = (),
    runs: Annotated[int, Measured] = 10,
    threads: Annotated[int | None, Parameter(group=DEVICE)] = None,
    training: Annotated[Flag, Measured] = False,
    output: PathArgument | None = None,
    inference: InferenceOptions = DEFAULT_INFERENCE,
) -> Benchmark:
    """Measure a model: time per stage, images/s, memory, share of the machine's peak.

    The images are noise. Every selection is full, so that the time does not depend on the weights.

    Parameters
    ----------
    config
        Path or name of the config; one of our checkpoints and zoo:NAME need none.
    weights
        A checkpoint, or zoo:NAME of a published model; default: untrained, which is as fast.
    batch_sizes
        Images per batch, one number or several: 1 2 4. Put KEY VALUE pairs before this option.
    sizes
        HEIGHTxWIDTH, one or several: 640x640 800x1216; default: the test size of an image of
        480 x 640.
    runs
        Measured passes, after two passes of warm-up.
    threads
        CPU threads; default: PyTorch's.
    training
        Measure a training step (forward and backward) instead of inference.
    output
        JSON file for the results.
    """
    from centernet2.builders.detector.loading import config_of
    from centernet2.builders.detector.network import build_on_meta
    from centernet2.files import write_json
    from centernet2.kernels import device_name
    from centernet2.outputs import json_mark, writable_file
    from centernet2.profiling.measure import measure_benchmark
    from centernet2.profiling.meter import Meter
    from centernet2.profiling.operations import input_size
    from centernet2.threads import cpu_threads

    target = None if output is None else writable_file(Path(output), command="benchmark")
    if min(batch_sizes, default=0) < 1:
        raise ArgumentValueError("batch_sizes", f"is {batch_sizes}; it takes whole numbers from 1")
    dtype, wanted = _require_dtype(inference.dtype), [_parse_word(size) for size in sizes]
    with cpu_threads(threads):
        model = _load(config, overrides, weights, inference.device, training=training)
        plan = build_on_meta(config_of(model.info))
        meter = Meter(model, plan, dtype=dtype, compile=inference.compile, runs=runs)
        shapes = {(n, *size) for n in batch_sizes for size in wanted or [input_size(plan)]}
        origin = None if weights is None else str(weights)
        name = device_name(meter.device)
        result = measure_benchmark(meter, shapes, weights=origin, device_name=name)
    if target is not None:
        write_json(target, json_mark("benchmark") | asdict(result), indent=1)
    return result


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Parse "HEIGHTxWIDTH"."""
    match = re.fullmatch(r"([0-9]+)x([0-9]+)", text)
    if match is None:
        raise ValueError(f"{option} is '{text}'; write HEIGHTxWIDTH in pixels, such as 800x1216")
    height, width = int(match[1]), int(match[2])
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"{option} is '{text}'; height and width are at least {MIN_SIDE}")
    return height, width


def _parse_word(text: str) -> tuple[int, int]:
    """Parse one of the words after --sizes, which takes all that follow it."""
    if KEY.fullmatch(text):
        raise ValueError(f"put {text} and its value before --sizes, which takes all words after it")
    return parse_size(text, "--sizes")


def _require_dtype(name: str) -> Precision:
    from centernet2.models.optimize import DTYPES

    if name not in DTYPES:
        raise ValueError(f"--dtype is '{name}'; choose one of {', '.join(DTYPES)}")
    return cast("Precision", name)


def _load(
    config: ConfigArgument | None,
    overrides: Sequence[str],
    weights: WeightsArgument | None,
    device: str | None,
    *,
    training: bool,
) -> Detector:
    """Load the model on its device, in training or evaluation mode."""
    import torch

    from centernet2.builders.detector.loading import (
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
