"""The batch that fits, which processes find alone before they agree."""

import gc
import os
import weakref
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from centernet2.builders.training import step_probe
from centernet2.builders.training.training_data import find_training_data
from centernet2.config import Config, load_config
from centernet2.models.detector import Detector
from tests.helpers.training import SMALL, TINY, write_blocks

CPU = torch.device("cpu")


def work(rank: int, folder: str) -> None:
    """Probe two batches in one of two processes, the second of which has less memory."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="1")  # the store is a file
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/store", timedelta(seconds=60), rank=rank, world_size=2
    )
    build = step_probe.build_detector

    def build_in_memory(config: Config) -> Detector:
        if rank == 1 and config.run.ims_per_batch > 2:
            raise torch.OutOfMemoryError
        return build(config)

    patch = pytest.MonkeyPatch()  # of this process, which ends with it
    patch.setattr(step_probe, "build_detector", build_in_memory)
    patch.setattr(step_probe, "PROBED_STEPS", 1)
    config = load_config(SMALL, [*TINY, "MODEL.FPN.NORM", "SyncBN"])  # which would wait, too
    dataset, _ = find_training_data(config, f"{folder}/data", None)
    fits = [step_probe._fits(config, batch, dataset, CPU) for batch in (4, 2)]
    dist.destroy_process_group()
    torch.save(fits, Path(folder) / f"{rank}.pt")


def test_process_without_memory_keeps_no_other_waiting(tmp_path: Path) -> None:
    write_blocks(tmp_path / "data")
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [[False, True]] * 2


def test_memory_is_measured_where_the_map_of_an_image_is_one_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_probe, "PROBED_STEPS", 1)
    small = ["INPUT.MIN_SIZE_TRAIN", "(64,)", "MODEL.TIMM.PRETRAINED", "False"]
    config = load_config("CenterNet2_Lite_N", [*small, "SOLVER.IMS_PER_BATCH", "2"])
    dataset, _ = find_training_data(config, write_blocks(tmp_path), None)
    assert step_probe.largest_batch(config, dataset, CPU) == 2


def test_models_of_probes_leave_the_memory_of_the_accelerator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models, accelerator = list[weakref.ref[torch.nn.Module]](), torch.device("meta")

    def measure(config: Config, *arguments: object, alone: bool = False) -> float:
        model = torch.nn.Module()
        model.layer = model  # as a layer that is recomputed
        models.append(weakref.ref(model))
        if config.run.ims_per_batch > 16:
            raise torch.OutOfMemoryError
        return 1.0

    config = load_config("CenterNet2_Lite_N", {"SOLVER.IMS_PER_BATCH": 32})
    dataset, _ = find_training_data(config, write_blocks(tmp_path), None)
    monkeypatch.setattr(step_probe, "_measure_own_step", measure)
    gc.disable()
    try:
        step_probe.largest_batch(config, dataset, accelerator)
        step_probe.measure_step(config.replace({"SOLVER.IMS_PER_BATCH": 16}), dataset, accelerator)
        assert [model() for model in models] == [None] * 3
    finally:
        gc.enable()


def test_batch_fits_beside_the_state_of_the_optimizer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken = []

    def step(model: torch.nn.Module, *arguments: object, **options: object) -> None:
        tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        weights = [each.shape for each in model.parameters() if each.requires_grad]
        largest = max(weights, key=torch.Size.numel)
        taken.append((weights.count(largest), sum(each.shape == largest for each in tensors)))

    config = load_config(SMALL, TINY)
    dataset, _ = find_training_data(config, write_blocks(tmp_path), None)
    monkeypatch.setattr(step_probe, "PROBED_STEPS", 1)
    monkeypatch.setattr(step_probe, "accumulate_gradients", step)
    for alone in (False, True):
        gc.collect()
        step_probe._measure_own_step(config, dataset, CPU, alone=alone)
    (count, before), (_, after) = taken
    assert after - before >= 3 * count  # of AdamW and the averaged weights
