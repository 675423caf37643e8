"""Training on two processes, started as users start it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.exit_codes import ExitCode
from tests.helpers.training import TINY

# without what halves of a batch must see differently: batch statistics, and the RoIs of each image
OPTIONS = [
    *TINY, "MODEL.META_ARCHITECTURE", "CenterNetDetector", "MODEL.RESNETS.NORM", "FrozenBN",
    "SOLVER.LOG_PERIOD", "1",
    "SOLVER.IMS_PER_BATCH", "4", "SOLVER.WARMUP_ITERS", "0", "SOLVER.BASE_LR", "0.01", "SEED", "3",
    "MODEL.CENTERNET.INFERENCE_TH", "0.0",
]  # fmt: skip


def start(dataset: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "centernet2", "train", "--config-file", "CenterNet2_R18_small",
        "--data", str(dataset), "--output-dir", str(output), "--device", "cpu", "--num-gpus", "2",
        *OPTIONS, *options,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


# the command, but a callback fails after the first step
FAILING = """
import os

from centernet2.cli import main
from centernet2.training.slow_steps import SlowSteps

def fail(self, step):
    raise RuntimeError(os.environ["MESSAGE"])

SlowSteps.__call__ = fail
main()
"""


def lines(output: Path) -> list[dict[str, float]]:
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def wait_for_steps(job: subprocess.Popen[str], output: Path) -> None:
    """Wait for the second line of metrics of a training run."""
    deadline = time.monotonic() + 300
    while len(lines(output)) < 2 and time.monotonic() < deadline:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.5)


@pytest.mark.slow
def test_two_processes_equal_one(data: Path, tmp_path: Path) -> None:
    """Equal losses, weights and metrics for one global batch."""
    job = start(data, tmp_path / "two")
    text, _ = job.communicate(timeout=300)
    assert job.returncode == 0, text
    assert text.count("INFO training data:") == text.count("AP by class") == 1  # one process speaks
    config = centernet2.load_config("CenterNet2_R18_small", OPTIONS)
    centernet2.train(config, data=data, output_dir=tmp_path / "one", device="cpu")
    for together, alone in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        for name in (name for name in alone if name.startswith(("loss_", "eval/"))):
            near = pytest.approx(alone[name], rel=1e-3, abs=1e-6, nan_ok=True)
            assert together[name] == near, name
    files = [tmp_path / run / "eval" / "predictions.json" for run in ("one", "two")]
    first, second = (len(json.loads(file.read_text())) for file in files)
    assert first == second > 0


@pytest.mark.slow
def test_sharded_training_equals_one_process(data: Path, tmp_path: Path) -> None:
    """FSDP on two processes, stopped and resumed, against one process.

    Every part of a checkpoint is exchangeable.
    """
    options = ["SOLVER.EMA.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model"]
    sharded = [*options, "SOLVER.FSDP", "True"]
    for stop in (["SOLVER.TRAIN_ITER", "2"], ["SOLVER.TRAIN_ITER", "-1", "--resume"]):
        job = start(data, tmp_path / "two", *stop, *sharded)
        text, _ = job.communicate(timeout=300)
        assert job.returncode == 0, text
    config = centernet2.load_config("CenterNet2_R18_small", [*OPTIONS, *options])
    centernet2.train(config, data=data, output_dir=tmp_path / "one", device="cpu")
    runs = [tmp_path / name for name in ("one", "two")]
    steps = [[line for line in lines(run) if "total_loss" in line] for run in runs]
    for alone, together in zip(*steps, strict=True):
        for name in (name for name in alone if name.startswith("loss_")):
            assert together[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-6), name
    for name in ("model_final.pth", "model_final_ema.pth"):
        one, two = (torch.load(run / name, weights_only=True)["model"] for run in runs)
        for key, tensor in one.items():
            torch.testing.assert_close(two[key], tensor, rtol=1e-3, atol=1e-5)

    # without sharding
    centernet2.train(config, data=data, output_dir=tmp_path / "two", device="cpu", resume=True)


# a script that torchrun starts, with jobs one after the other
JOBS = """
import sys
from pathlib import Path

import centernet2
from centernet2 import distributed

data, output, *options = sys.argv[1:]
for name in ("first", "second"):
    centernet2.train("CenterNet2_R18_small", *options, data=data, output_dir=Path(output, name),
                     device="cpu")
    run = Path(output, name)
    found = centernet2.evaluate(run, data=data, output_dir=run / "eval",
                                inference=centernet2.jobs.InferenceOptions(device="cpu"))
    assert distributed.world_size() == 2, "each process is on its own"
assert distributed.gather_objects(found["bbox/AP"]) == [found["bbox/AP"]] * 2
"""


@pytest.mark.slow
def test_script_of_several_jobs(data: Path, tmp_path: Path) -> None:
    """The processes stay together after a training run."""
    (tmp_path / "jobs.py").write_text(JOBS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*torchrun, str(tmp_path / "jobs.py"), str(data), str(tmp_path), *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("first", "second"):
        run = tmp_path / name
        assert json.loads((run / "eval" / "speed.json").read_text())["images"] == 4
        assert not (run / "eval" / "unfinished").exists() and not list(run.glob("earlier_*"))


@pytest.mark.slow
def test_signal_to_the_job_saves(data: Path, tmp_path: Path) -> None:
    """It reaches all processes, the loader's workers too, as from `timeout` or Slurm."""
    job = start(data, tmp_path, "SOLVER.MAX_ITER", "1000000", "SOLVER.CHECKPOINT_PERIOD", "1000000",
        "DATALOADER.NUM_WORKERS", "1",
    )  # fmt: skip
    wait_for_steps(job, tmp_path)
    os.killpg(job.pid, signal.SIGTERM)
    text, _ = job.communicate(timeout=120)
    assert job.returncode == ExitCode.INTERRUPTED, text
    assert "Traceback" not in text
    assert list(tmp_path.glob("model_*.pth"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_dead_worker_ends_the_job(data: Path, tmp_path: Path) -> None:
    job = start(data, tmp_path, "SOLVER.MAX_ITER", "1000000")
    wait_for_steps(job, tmp_path)
    workers = [
        int(pid) for pid in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    ]
    workers = [pid for pid in workers if b"centernet2" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    text, _ = job.communicate(timeout=120)
    assert job.returncode == 1, text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "said", "code"),
    [("no kernel", "RuntimeError: no kernel", 1),
     ("out of memory", "ERROR there is not enough memory (out of memory)", 2)],
)  # fmt: skip
def test_crash_ends_the_process_and_its_workers(
    data: Path, tmp_path: Path, message: str, said: str, code: int
) -> None:
    """The traceback holds the loader while Python waits for the workers."""
    command = [
        sys.executable, "-c", FAILING, "train", "--config-file", "CenterNet2_R18_small",
        "--data", str(data), "--output-dir", str(tmp_path), "--device", "cpu",
        *OPTIONS, "DATALOADER.NUM_WORKERS", "1",
    ]  # fmt: skip
    variables = os.environ | {"MESSAGE": message}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as job:
        try:
            assert job.stderr is not None
            assert any(said in line for line in job.stderr)
            assert job.wait(20) == code
        finally:
            job.kill()
