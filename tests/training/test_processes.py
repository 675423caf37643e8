"""Training on two CPU processes equals training on one."""

import json
import os
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from centernet2 import distributed
from centernet2.devices import PATIENCE, create_accelerator
from centernet2.training.callbacks import StopOnSignal
from centernet2.training.nonfinite import NonFiniteGuard
from centernet2.training.run_state import restore_training_state, training_state
from centernet2.training.step import FinishedStep
from centernet2.training.writers import JsonlWriter, MetricsLogger
from tests.helpers.toy import Batch, Run, ToyDetector, make_batch, spoiled, stream

CPU = torch.device("cpu")
STEPS = 6
BAD = 2


def share(rank: int, step: int) -> Batch:
    """Half of the global batch; one image of the second process is bad in one step."""
    batch = make_batch(step, 4, slice(2 * rank, 2 * rank + 2))
    return spoiled(batch) if step == BAD and rank == 1 else batch


def global_batch(step: int) -> Batch:
    return spoiled(make_batch(step, 4)) if step == BAD else make_batch(step, 4)


def work(rank: int, port: int, folder: str) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )  # fmt: skip
    torch.set_num_threads(1)
    run = Run(ToyDetector())
    assert distributed.world_size() == 2
    output = Path(folder)
    writers = [JsonlWriter(output / "metrics.jsonl", start_iteration=0)] if rank == 0 else []
    guard = NonFiniteGuard(output / "nonfinite.jsonl", limit=2, period=2)
    run.train(
        stream(make=partial(share, rank)),
        0,
        STEPS,
        [MetricsLogger(writers, period=1, device=CPU), guard],
    )
    assert guard.skipped == 1
    if rank == 0:
        torch.save(
            ToyDetector.state_dict(run.accelerator.unwrap_model(run.model)), output / "model.pth"
        )

    check_random_streams(rank)
    check_common_stop(run, rank)
    group: Any = dist.group.WORLD
    assert group._get_backend(CPU).options._timeout == PATIENCE
    with suppress(OSError), distributed.closing_process_group():
        raise OSError
    with pytest.raises(ValueError, match="this process has left the others"):
        create_accelerator(CPU)  # it would train alone


def check_random_streams(rank: int) -> None:
    """Check that each process restores its own random stream."""
    generator = torch.Generator().manual_seed(rank)
    state = training_state(STEPS, {}, [generator])
    expected = torch.rand(2, generator=generator)
    restore_training_state(state, {}, [generator.manual_seed(99)])
    assert torch.equal(torch.rand(2, generator=generator), expected)


def check_common_stop(run: Run, rank: int) -> None:
    """Check that a signal to one process stops both after one step."""
    seen: list[int] = []

    def signal_one(step: FinishedStep) -> None:
        seen.append(step.iteration)
        if rank == 1 and step.iteration == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with StopOnSignal(period=3) as stop:
        run.train(stream(make=partial(share, rank), start=10), 0, 100, [signal_one, stop])
    assert stop.received
    assert distributed.gather_objects(seen[-1]) == [6, 6]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(work, args=(port, str(tmp_path)), nprocs=2)

    model = ToyDetector()
    alone = JsonlWriter(tmp_path / "alone.jsonl", start_iteration=0)
    Run(model).train(
        stream(make=global_batch), 0, STEPS, [MetricsLogger([alone], period=1, device=CPU)]
    )
    alone.close()

    for name, value in torch.load(tmp_path / "model.pth", weights_only=True).items():
        torch.testing.assert_close(value, model.state_dict()[name])
    lines = [
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "alone.jsonl")
    ]
    for together, single in zip(*lines, strict=True):
        for name in ("iteration", "loss_a", "loss_b", "lr", "skipped_steps"):
            assert (together[name] is None) == (single[name] is None)
            if single[name] is not None:
                torch.testing.assert_close(together[name], single[name], rtol=1e-5, atol=1e-6)

    records = [json.loads(line) for line in (tmp_path / "nonfinite.jsonl").read_text().splitlines()]
    assert [(record["iteration"], record["rank"]) for record in records] == [
        (BAD + 1, 0),
        (BAD + 1, 1),
    ]
    assert [record["losses"]["loss_a"] == "nan" for record in records] == [False, True]
    assert [record["image_ids"] for record in records] == [[200, 201], [202, 203]]
