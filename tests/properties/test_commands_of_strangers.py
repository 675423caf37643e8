"""Whole commands on data of other tools: the same verdict of check and train, no traceback.

CENTERNET2_COMMANDS sets the number of data sets.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest

from centernet2.exit_codes import ExitCode
from tests.helpers.coco_habits import COCO_HABITS, write_coco_truth
from tests.helpers.random_truth import random_truth
from tests.helpers.strangers import MOST_HABITS, assert_one_sentence_with_a_file
from tests.helpers.voc_habits import VOC_HABITS, write_voc_truth
from tests.helpers.yolo_habits import YOLO_HABITS, write_yolo_truth

COMMANDS = int(os.environ.get("CENTERNET2_COMMANDS", "6"))
WRITERS = (
    (write_coco_truth, tuple(COCO_HABITS)),
    (write_yolo_truth, YOLO_HABITS),
    (write_voc_truth, VOC_HABITS),
)
TRAIN = [
    "--config-file", "CenterNet2_R18_small", "--device", "cpu", "SOLVER.MAX_ITER", "1",
    "SOLVER.IMS_PER_BATCH", "2", "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64",
    "DATALOADER.NUM_WORKERS", "0", "SOLVER.PICTURES", "0", "MODEL.WEIGHTS", "",
]  # fmt: skip


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the package to its end."""
    command = [sys.executable, "-m", "centernet2", *words]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(COMMANDS))
def test_check_and_train_agree(seed: int) -> None:
    rng = Random(seed)
    write, habits = WRITERS[seed % len(WRITERS)]
    chosen = rng.sample(habits, rng.randint(0, MOST_HABITS))
    root = Path(tempfile.mkdtemp())
    try:
        data, output = root / "data", root / "out"
        write(random_truth(rng), data, chosen, rng)
        checked = run("check", str(data), "--findings-only")
        trained = run("train", "--data", str(data), "--output-dir", str(output), *TRAIN)
        words = (
            f"habits {chosen}\n{checked.stdout}{checked.stderr}\n{trained.stdout}{trained.stderr}"
        )
        assert "Traceback" not in words, words
        assert trained.returncode in (ExitCode.DONE, ExitCode.INCOMPLETE, ExitCode.REFUSED), words
        if trained.returncode == ExitCode.REFUSED:
            last = trained.stderr.strip().splitlines()[-1]
            assert_one_sentence_with_a_file(last, data)
            assert checked.returncode == ExitCode.REFUSED, words
            assert not list(output.glob("model_*.pth")), words
        else:
            assert "refuses" not in checked.stdout, words
            assert (output / "model_final.pth").is_file(), words
            assert (output / "eval" / "metrics.json").is_file(), words
    finally:
        shutil.rmtree(root)
