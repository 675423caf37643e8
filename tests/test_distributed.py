import os
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from centernet2 import distributed


def test_one_process_needs_no_group() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.is_main_process()
    assert distributed.reduce_mean(tensor) is tensor
    assert distributed.gather_objects({"a": 1}) == [{"a": 1}]
    assert distributed.gather_on_main_process(1) == [1]
    with distributed.closing_process_group():
        distributed.barrier()


def work(rank: int, folder: str) -> None:
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    value = torch.tensor([float(rank), 4.0])
    result = {
        "rank": distributed.rank(),
        "world_size": distributed.world_size(),
        "is_main": distributed.is_main_process(),
        "mean": distributed.reduce_mean(value).tolist(),
        "value": value.tolist(),
        "objects": distributed.gather_objects(f"of {rank}"),
        "on_main": distributed.gather_on_main_process(rank),
    }
    distributed.copy_from_main_process([value])
    result["of_main"] = value.tolist()
    try:
        with distributed.failing_together():
            if rank == 1:
                raise OSError("disk full")
    except (OSError, distributed.OtherProcessError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    with distributed.closing_process_group():
        distributed.barrier()
    result["joined"] = distributed.is_distributed()  # others may follow, such as an evaluation
    with suppress(OSError), distributed.closing_process_group():
        raise OSError
    result["joined after an error"] = distributed.is_distributed()
    torch.save(result, Path(folder) / f"{rank}.pt")


def test_collectives_of_two_processes(tmp_path: Path) -> None:
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == {
            "rank": rank,
            "world_size": 2,
            "is_main": rank == 0,
            "mean": [0.5, 4.0],
            "value": [float(rank), 4.0],  # the argument is left alone
            "objects": ["of 0", "of 1"],
            "on_main": [[0, 1], []][rank],
            "of_main": [0.0, 4.0],
            "joined": True,
            "joined after an error": False,
            "error": [
                "OtherProcessError: process 1 failed: OSError: disk full",
                "OSError: disk full",
            ][rank],
        }
