"""What makes the host wait for the device in a step of the training loop.

python benchmarks/waits.py [--config-file NAME] [--size 800 1216] [--device cuda]

Counts, in a step on two images in main memory: the operators whose result the host needs, and
CUDA's synchronizations, by torch.profiler; on CUDA also the places in our sources, by PyTorch's
debug mode. The profiler itself adds a fraction of a cudaDeviceSynchronize to each step.
"""

import argparse
import json
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from harness import machine
from sides import scene
from torch.profiler import profile

import centernet2
from centernet2.builders.detector.loading import config_of, place
from centernet2.builders.training.solver import build_clip, build_optimizer
from centernet2.devices import UnitScaler, create_accelerator
from centernet2.models.optimize import optimize_for_training
from centernet2.structures import Batch
from centernet2.training.loop import StepOptions, train_loop
from centernet2.training.schedule import Schedule

STEPS = 4
WAITS = (
    "cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize", "aten::nonzero",
    "aten::_local_scalar_dense", "aten::masked_select", "torchvision::nms",
)  # fmt: skip


def training_steps(name: str, size: tuple[int, int], device: torch.device) -> Callable[[], None]:
    """Return STEPS steps: loss, gradient, clipping as in the config, optimizer, schedule."""
    torch.manual_seed(0)
    model = place(centernet2.build_model(name, device="cpu").train(), device)
    config = config_of(optimize_for_training(model).info)
    images, targets = scene(*size, 2)
    batch = Batch(images, targets, indices=[0, 1], image_ids=[1, 2], sizes=[size, size])
    optimizer = build_optimizer(config, model)
    accelerator = create_accelerator(device)

    def steps() -> None:
        train_loop(
            model,
            optimizer,
            Schedule(optimizer, lambda step: 1e-6),
            iter([batch] * STEPS),
            accelerator=accelerator,
            scaler=UnitScaler(device.type),
            options=StepOptions(clip=build_clip(config)),
            start_iteration=0,
            max_iteration=STEPS,
            callbacks=[],
        )

    return steps


@contextmanager
def places_of_waits() -> Iterator[Counter[str]]:
    """Count the waits of a CUDA device by the innermost place in our sources."""
    places: Counter[str] = Counter()
    sources = str(Path(centernet2.__file__).parent)

    def note(message: Any, category: Any, filename: str, line: int, *_: Any) -> None:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_stack()]
        ours = [frame for frame in frames if frame[0].startswith(sources)]
        file, number = (ours or [(filename, line)])[-1]
        places[f"{file.removeprefix(sources).lstrip('/')}:{number}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")


def per_step(counts: Counter[str]) -> dict[str, float]:
    return {name: count / STEPS for name, count in counts.most_common()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="CenterNet2_R50_1x")
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1216], help="height and width")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    steps = training_steps(options.config_file, tuple(options.size), device)
    steps()  # warm-up
    with profile() as profiled:  # all activities of this machine
        steps()
    places: Counter[str] = Counter()
    if device.type == "cuda":
        with places_of_waits() as places:
            steps()
    results = {
        "benchmark": "waits",
        "config": options.config_file,
        "device": options.device,
        "operations": per_step(Counter(e.name for e in profiled.events() if e.name in WAITS)),
        "places": per_step(places),
        **machine(),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
