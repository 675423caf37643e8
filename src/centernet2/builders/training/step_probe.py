"""Time of a training step on a device, and the batch size that fits its memory."""

import gc
import logging
import math
import statistics
import time

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from centernet2 import distributed
from centernet2.builders.data.data_pipeline import build_train_batches
from centernet2.builders.detector.network import build_detector
from centernet2.builders.training.batch_statistics import LEAST_BATCH, explain_single_values
from centernet2.builders.training.config_completion import fit_to_data
from centernet2.builders.training.parallel import prepare_for_training
from centernet2.builders.training.solver import choose_precision
from centernet2.config import Config
from centernet2.data import DetectionDataset
from centernet2.devices import create_accelerator, grad_scaler, synchronize
from centernet2.kernels import keep_freed_memory
from centernet2.training.loop import accumulate_gradients

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.8  # of the free memory of this machine, which a step on its CPU may take
# options of a step without collective operations
COMPUTED_ALONE: dict[str, object] = {
    "MODEL.CENTERNET.NO_REDUCE": True,
    "SOLVER.SYNC_BN": False,
    "SOLVER.FSDP": False,
}
STATE_COPIES = 3  # of the weights, at most: two of AdamW, and the averaged weights
PROBED_STEPS = 4  # whose fastest counts: the first one warms up, and the machine may be busy


def measure_step(config: Config, dataset: DetectionDataset, device: torch.device) -> float:
    """Return the seconds of a forward and backward pass in the slowest process.

    The weights are random, and the images have the middle one of their sizes.
    """
    seconds = _measure_own_step(config, dataset, device)
    _free_models(device)
    return max(distributed.gather_objects(seconds))


@explain_single_values()
def _measure_own_step(
    config: Config, dataset: DetectionDataset, device: torch.device, *, alone: bool = False
) -> float:
    """Return the seconds of a forward and a backward pass in this process.

    Args:
        alone: exchange nothing with the other processes, and take the memory of a training run's
            optimizer, too.

    Raises:
        torch.OutOfMemoryError: the batch does not fit into the memory of the accelerator.
    """
    sizes = config.augmentation.min_size_train
    middle: dict[str, object] = {"INPUT.MIN_SIZE_TRAIN": (round(statistics.median(sizes)),)}
    middle |= {"INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice"}
    probed = {"SEED": 0, "DATALOADER.NUM_WORKERS": 0, **middle}
    config = fit_to_data(config.replace(probed), dataset)
    accelerator = create_accelerator(device, find_unused_parameters=True)
    model = prepare_for_training(config, build_detector(config), accelerator, alone=alone).train()
    _state = _memory_of_state(model) if alone else []
    precision = choose_precision(device, amp=config.run.amp, dtype=config.run.amp_dtype)
    batches = build_train_batches(config, dataset, start=0)
    seconds = math.inf
    for _ in range(PROBED_STEPS):
        step_batches = [next(batches) for _ in range(config.run.accumulation_steps)]
        started = time.perf_counter()
        accumulate_gradients(
            model,
            step_batches,
            accelerator=accelerator,
            scaler=grad_scaler(device, precision),
            precision=precision,
        )
        synchronize(device)
        seconds = min(seconds, time.perf_counter() - started)
    return seconds


def _memory_of_state(model: nn.Module) -> list[Tensor]:
    """Take the memory of optimizer and averaged weights, which are chosen later."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return [torch.zeros_like(weight) for weight in trained for _ in range(STATE_COPIES)]


def largest_batch(config: Config, dataset: DetectionDataset, device: torch.device) -> int:
    """Return the batch size of a config, less if the largest images do not fit."""
    batch, smallest = config.run.ims_per_batch, distributed.world_size()
    config = config.replace({"INPUT.MIN_SIZE_TRAIN": (max(config.augmentation.min_size_train),)})
    if device.type == "cpu":
        return min(batch, max(1, _images_in_memory(config, dataset) // smallest) * smallest)
    while batch > smallest and not _fits(config, batch, dataset, device):
        logger.info("a batch of %d images does not fit into the memory of %s", batch, device)
        batch = max(smallest, batch // 2)
    return batch


def _fits(config: Config, batch: int, dataset: DetectionDataset, device: torch.device) -> bool:
    """Whether a step fits into the memory of the accelerator of each process.

    Each process computes alone: the others would wait forever for one that has no memory left.
    """
    norms = {key: "BN" for key in config.stated if config[key] == "SyncBN"}
    config = config.replace({"SOLVER.IMS_PER_BATCH": batch} | COMPUTED_ALONE | norms)
    try:
        _measure_own_step(config, dataset, device, alone=True)
        fits = True
    except torch.OutOfMemoryError:
        fits = False
    _free_models(device)
    return all(distributed.gather_objects(fits))


def _free_models(device: torch.device) -> None:
    """Free the memory of an accelerator that the models of earlier probes take.

    Layers that are recomputed refer to themselves, so they stay until cycles are collected.
    """
    if device.type != "cpu":
        gc.collect()


def _images_in_memory(config: Config, dataset: DetectionDataset) -> int:
    """Return the images that a step can have, by the memory of the smallest step.

    A larger step is not tried: the system may end the process.
    """
    device = torch.device("cpu")
    batch = LEAST_BATCH * distributed.world_size()
    small = {"SOLVER.IMS_PER_BATCH": batch, "SOLVER.ACCUMULATION_STEPS": 1}
    keep_freed_memory(device)  # what is free already is returned, and the step keeps its own
    free, before = psutil.virtual_memory().available, _resident()
    measure_step(config.replace(small | {"SOLVER.KEEP_FREED_MEMORY": True}), dataset, device)
    images = int(MEMORY_SHARE * free * LEAST_BATCH / max(1, _resident() - before))
    return min(distributed.gather_objects(images))


def _resident() -> int:
    """Return the bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)
