"""Training by Ray Train: the script of docs/multi-node.md, on a cluster of two nodes."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import centernet2
from docs.blocks import read_blocks
from docs.build_site import ROOT
from tests.helpers.ray_cluster import cluster  # noqa: F401
from tests.helpers.training import TINY

pytestmark = pytest.mark.long
pytest.importorskip("ray", reason="Ray Train needs Ray: pip install 'centernet2[ray]'")

SECONDS = 300
CONFIG = "CenterNet2_R18_small"
# without what halves of a batch must see differently: batch statistics, and the RoIs of each image
OPTIONS = [
    *TINY, "MODEL.META_ARCHITECTURE", "CenterNetDetector", "MODEL.RESNETS.NORM", "FrozenBN",
    "SOLVER.LOG_PERIOD", "1", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.WARMUP_ITERS", "0",
    "SOLVER.MAX_ITER", "30", "SOLVER.CHECKPOINT_PERIOD", "5", "SEED", "3",
]  # fmt: skip


def write_script(folder: Path, data: Path) -> Path:
    """Write the script of the page, with small data and two processes on the CPU."""
    blocks = read_blocks(ROOT / "docs" / "multi-node.md")
    (text,) = [block.text for block in blocks if "TorchTrainer" in block.text]
    for old, new in {
        '"CenterNet2_R50_1x", data_path="/data"': f"{CONFIG!r}, *{OPTIONS}, data={str(data)!r}",
        "num_workers=16, use_gpu=True": "num_workers=2",
        "/shared": str(folder),
    }.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "train_ray.py"
    path.write_text(text)
    return path


def training_processes() -> list[psutil.Process]:
    """Return the processes that Ray Train has started."""
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "RayTrainWorker" in " ".join(each.cmdline())]


def losses(output: Path) -> dict[int, float]:
    """Return the total loss of each iteration."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return {line["iteration"]: line["total_loss"] for line in lines if "total_loss" in line}


def test_run_continues_after_a_killed_process(data: Path, tmp_path: Path, cluster: Any) -> None:
    """Equal losses for one global batch, with one process and with two of which one is killed."""
    output = tmp_path / "r50"
    command = [sys.executable, str(write_script(tmp_path, data))]
    with (tmp_path / "log.txt").open("w") as log:
        job = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + SECONDS
    while not list(output.glob("model_*.pth")) and time.monotonic() < deadline:
        assert job.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.05)
    first = training_processes()
    first[-1].kill()
    assert job.wait(SECONDS) == 0, (tmp_path / "log.txt").read_text()
    assert len(first) == 2 and (output / "model_final.pth").is_file()
    alone = tmp_path / "alone"
    centernet2.train(CONFIG, *OPTIONS, data=data, output_dir=alone, device="cpu")
    assert losses(output) == pytest.approx(losses(alone), rel=1e-3)
