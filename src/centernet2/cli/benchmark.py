"""The command `benchmark`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.cli.arguments import Flag, Pairs, wide_console

Several = Parameter(consume_multiple=True, negative=())


def benchmark(
    *overrides: Pairs,
    config_file: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    dtype: str = "fp32",
    compile: Flag = False,
    batch_sizes: Annotated[tuple[int, ...], Several] = (1,),
    sizes: Annotated[tuple[str, ...], Several] = (),
    runs: int = 10,
    threads: int | None = None,
    training: Flag = False,
    output: Path | None = None,
) -> None:
    """Measure how fast a model is here: time of each stage, images/s, memory, share of the machine's peak.

    Parameters
    ----------
    config_file
        Path or name of the configuration; one of our checkpoints and zoo:NAME need none.
    weights
        The checkpoint, or zoo:NAME of a published model; default: untrained, which is as fast.
    device
        cuda, npu, xpu, mps or cpu; default: the best there is.
    dtype
        fp32, bf16 or fp16: of matrix products and convolutions.
    compile
        Compile the network (torch.compile), for each size and batch anew.
    batch_sizes
        Images that go through the model together, one number or several: 1 2 4. KEY VALUE pairs stand before it.
    sizes
        HEIGHTxWIDTH, one or several: 640x640 800x1216; default: the size for testing of an image of 480 x 640.
    runs
        Passes that count, after two that do not.
    threads
        Threads of the CPU; default: as many as PyTorch takes.
    training
        Measure a training step, forward and backward, in place of inference.
    output
        JSON file for the figures.
    """
    from centernet2.jobs.benchmark import benchmark as measure
    from centernet2.report.benchmark_tables import benchmark_tables

    result = measure(
        config_file,
        overrides,
        weights=weights,
        device=device,
        dtype=dtype,
        compile=compile,
        batch_sizes=batch_sizes,
        sizes=sizes,
        runs=runs,
        threads=threads,
        training=training,
        output=output,
    )
    wide_console().print(benchmark_tables(result), highlight=False)
