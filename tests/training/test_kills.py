"""A training run that is killed at random moments loses no checkpoint."""

import os
import random
import signal
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from centernet2.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from centernet2.checkpoint.checkpoint import last_checkpoint, numbered_checkpoints
from centernet2.files import remove_temporary
from centernet2.structures import ModelInfo
from centernet2.training.callbacks import PeriodicCheckpoint
from centernet2.training.run_state import restore_training_state, training_state
from tests.helpers.toy import Run, ToyDetector, stream

MEGABYTES = 2  # beside the toy's weights, so that writing takes its time
NUMBER = struct.Struct("i")


class HeavyToy(ToyDetector):
    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(generator)
        self.register_buffer("ballast", torch.zeros(MEGABYTES * 2**18))


def work(folder: Path, last: int, pipe: int | None) -> None:
    """Train from the last checkpoint to step `last`; report saved steps to the pipe."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    model = HeavyToy(generator)
    run = Run(model)
    remove_temporary(folder, "*.pth.*")
    found = last_checkpoint(folder)
    start = 0
    if found is not None:
        nn.Module.load_state_dict(model, found[1].weights)
        restore_training_state(found[1].training or {}, run.parts, [generator])
        start = found[1].iteration

    def save(iteration: int) -> Path:
        path = folder / f"model_{iteration:07d}.pth"
        training = training_state(iteration, run.parts, [generator])
        checkpoint = Checkpoint(model.state_dict(), ModelInfo(), iteration, {}, training)
        save_checkpoint(path, checkpoint)
        return path

    def tell(iteration: int) -> None:
        if pipe is not None:
            os.write(pipe, NUMBER.pack(iteration))

    checkpoint = PeriodicCheckpoint(save, period=1, minutes=0, agree_period=1, keep=2)
    run.train(stream(start), start, last, [checkpoint, lambda step: tell(step.iteration)])


def forked(folder: Path, last: int) -> tuple[int, int]:
    """Fork a process that trains; return it and its pipe.

    The parent never trains, so it has no threads, which a fork would lose.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(folder, last, writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return child, reader


def killed(folder: Path, seconds: float) -> int:
    """Kill training some time after its first checkpoint; return the last step."""
    child, reader = forked(folder, 10**6)
    told = os.read(reader, NUMBER.size)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told += b"".join(iter(partial(os.read, reader, 2**16), b""))
    os.close(reader)
    return int(NUMBER.unpack(told[-NUMBER.size :])[0])


def kill_often(folder: Path, kills: int) -> None:
    """Raise if a kill costs a checkpoint, or changes the weights at the end."""
    Run(ToyDetector())  # whatever is imported late, so that every child has it
    draw = random.Random(kills)
    told = interrupted = 0
    for _ in range(kills):
        told = killed(folder, draw.uniform(0, 0.05))
        interrupted += any(folder.glob(".*.tmp"))
        newest = numbered_checkpoints(folder)[-1]
        assert load_checkpoint(newest).iteration in (told, told + 1)
    (folder / "whole").mkdir()
    for place in (folder, folder / "whole"):
        assert os.waitpid(forked(place, told + 3)[0], 0)[1] == 0
    whole, parts = (
        load_checkpoint(numbered_checkpoints(place)[-1]) for place in (folder / "whole", folder)
    )
    assert whole.iteration == parts.iteration == told + 3
    assert all(torch.equal(tensor, parts.weights[name]) for name, tensor in whole.weights.items())
    print(f"{kills} kills, {interrupted} of them in the middle of a file, up to step {told}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.long)])
def test_kills_lose_no_checkpoint(kills: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.training.test_kills", str(tmp_path), str(kills)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    kill_often(Path(sys.argv[1]), int(sys.argv[2]))
