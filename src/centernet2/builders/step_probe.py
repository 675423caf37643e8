"""How long a training step takes on a device, and which batch fits into its memory."""

import logging
import math
import statistics
import time

import torch

from centernet2 import distributed
from centernet2.builders.data_pipeline import build_train_batches
from centernet2.builders.network import build_detector
from centernet2.builders.parallel import prepare_for_training
from centernet2.builders.plan import fit_to_data
from centernet2.builders.solver import choose_precision
from centernet2.config import Config
from centernet2.data import DetectionDataset
from centernet2.devices import create_accelerator, grad_scaler, synchronize
from centernet2.training.loop import accumulate_gradients

logger = logging.getLogger(__name__)

PROBED_STEPS = 4  # whose fastest counts: the first one warms up, and the machine may be busy


def measure_step(config: Config, dataset: DetectionDataset, device: torch.device) -> float:
    """Return the seconds of a forward and a backward pass, those of the slowest process.

    The weights are random, and the images have the middle one of their sizes.

    Raises:
        torch.OutOfMemoryError: the batch does not fit into the memory of the accelerator.
    """
    sizes = config.augmentation.min_size_train
    middle: dict[str, object] = {"INPUT.MIN_SIZE_TRAIN": (round(statistics.median(sizes)),)}
    middle |= {"INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice"}
    probed = {"SEED": 0, "DATALOADER.NUM_WORKERS": 0, **middle}
    config = fit_to_data(config.replace(probed), dataset)
    accelerator = create_accelerator(device, find_unused_parameters=True)
    model = prepare_for_training(config, build_detector(config), accelerator).train()
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
    return max(distributed.gather_objects(seconds))


def largest_batch(config: Config, dataset: DetectionDataset, device: torch.device) -> int:
    """Return the batch size of a config, halved until a step with the largest images fits."""
    batch, smallest = config.run.ims_per_batch, distributed.world_size()
    sizes = (max(config.augmentation.min_size_train),)
    while batch > smallest:
        tried = config.replace({"SOLVER.IMS_PER_BATCH": batch, "INPUT.MIN_SIZE_TRAIN": sizes})
        try:
            measure_step(tried, dataset, device)
            return batch
        except torch.OutOfMemoryError:
            logger.info("a batch of %d images does not fit into the memory of %s", batch, device)
            batch = max(smallest, batch // 2)
    return batch
