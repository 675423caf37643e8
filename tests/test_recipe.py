"""The recipe scripts on tiny data, from the command to the printed metrics."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from centernet2.commands import types_of_options
from tests.helpers.training import write_blocks

REPOSITORY = Path(__file__).parents[1]
TINY = [
    "--config-file=CenterNet2_R18_small", "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0",
    "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2", "SOLVER.LOG_PERIOD", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts, and a data set in the layout of COCO 2017 in data/."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(
        REPOSITORY / "test", folder / "test", ignore=shutil.ignore_patterns("output", "__pycache__")
    )
    coco = write_blocks(folder / "data" / "coco2017")
    for split in ("train", "val"):
        shutil.copytree(coco / "images", coco / f"{split}2017")
        annotations = coco / "annotations" / f"instances_{split}.json"
        annotations.rename(annotations.with_stem(f"instances_{split}2017"))
    shutil.rmtree(coco / "images")
    return folder


def run_script(project: Path, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY / "src"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    environment.pop("ASCEND_DEVICE_ID", None)
    command = ["bash", str(project / "test" / name), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=500, check=False
    )


def last_lines(done: "subprocess.CompletedProcess[str]") -> dict[str, float]:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [
        line.split(" : ")
        for line in done.stdout.splitlines()
        if line.startswith(("Final ", "E2E "))
    ]
    return {name: float(value) for name, value in lines}


@pytest.mark.slow
def test_training_and_evaluation_print_equal_accuracy(project: Path) -> None:
    trained = last_lines(
        run_script(project, "train_full_1p.sh", f"--data_path={project}/data", *TINY)
    )
    assert set(trained) == {
        "Final Performance images/sec",
        "Final Train Accuracy",
        "E2E Training Duration sec",
    }
    result = project / "result" / "CenterNet2" / "CenterNet2_R18_small"
    assert (result / "model_final.pth").is_file()
    assert trained["Final Train Accuracy"] == round(
        json.loads((result / "eval" / "metrics.json").read_text())["bbox/AP"], 2
    )
    case = (project / "test" / "output" / "0" / "CenterNet2_bs2_1p_acc.log").read_text()
    names = [line.split(" = ")[0] for line in case.splitlines()]
    assert names == [
        "Network", "RankSize", "BatchSize", "DeviceType", "CaseName", "ActualFPS", "TrainingTime",
        "TrainAccuracy", "E2ETrainingTime",
    ]  # fmt: skip
    assert "images_per_second" in (project / "test" / "output" / "0" / "train_0.log").read_text()

    evaluated = last_lines(
        run_script(project, "train_eval_1p.sh", f"--data_path={project}/data/", *TINY)
    )
    assert evaluated["Final Train Accuracy"] == trained["Final Train Accuracy"]


@pytest.mark.slow
def test_performance_script_on_two_processes(project: Path) -> None:
    done = run_script(
        project, "train_performance_8p.sh", f"--data_path={project}/data", "--num-gpus=2", *TINY
    )
    metrics = last_lines(done)
    assert set(metrics) == {"Final Performance images/sec", "E2E Training Duration sec"}
    assert metrics["Final Performance images/sec"] > 0
    case = (project / "test" / "output" / "0" / "CenterNet2_bs2_2p_perf.log").read_text()
    assert "RankSize = 2" in case and "ActualLoss = " in case


def test_flags_of_train_take_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "test")
    recipe = importlib.import_module("recipe")
    flags = [name for name, kind in types_of_options("train").items() if kind is bool]
    assert set(recipe.FLAGS) == set(flags)
    options, pairs = recipe.split_arguments([*flags, "--data_path=data", "SEED", "3"])
    assert options == {**dict.fromkeys(flags, ""), "--data_path": "data"}
    assert pairs == {"SEED": "3"}


TRAINING = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
time.sleep(60)
"""


def test_signal_reaches_the_training(project: Path, tmp_path: Path) -> None:
    """As of a scheduler or a container, whose first process the script is."""
    (tmp_path / "centernet2").mkdir()
    (tmp_path / "centernet2" / "__init__.py").touch()
    (tmp_path / "centernet2" / "__main__.py").write_text(TRAINING)
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)}
    command = ["bash", str(project / "test" / "train_full_1p.sh"), "--data_path=data"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as job:
        try:
            assert job.stdout is not None and job.stdout.readline() == "training\n"
            job.terminate()
            assert job.stdout.readline() == "saved\n"
            assert job.wait(20) == 75
        finally:
            job.kill()


def test_missing_data_path_is_one_sentence(project: Path) -> None:
    done = run_script(project, "train_full_1p.sh")
    assert done.returncode == 2 and "--data_path is missing" in done.stderr


def test_wrong_data_path_names_expected_folders(project: Path) -> None:
    done = run_script(project, "train_full_1p.sh", f"--data_path={project}/nowhere", *TINY)
    assert done.returncode == 2
    assert "nowhere" in done.stdout and "coco2017" in done.stdout and "Traceback" not in done.stdout


@pytest.mark.long
def test_eight_processes_on_photographs(project: Path, shared: Path) -> None:
    """Train on the CPU instead of accelerators, with a few images of COCO."""
    data = shared / "data" / "coco_tiny"
    output = f"--output-dir={project}/eight"
    overrides = [
        *TINY, "SOLVER.IMS_PER_BATCH", "8", "INPUT.MIN_SIZE_TRAIN", "(96,)",
        "INPUT.MIN_SIZE_TEST", "96",
    ]  # fmt: skip
    done = run_script(project, "train_full_8p.sh", f"--data_path={data}", output, *overrides)
    metrics = last_lines(done)
    assert set(metrics) == {
        "Final Performance images/sec",
        "Final Train Accuracy",
        "E2E Training Duration sec",
    }
    assert (
        metrics["Final Performance images/sec"] > 0 and 0 <= metrics["Final Train Accuracy"] <= 100
    )
    case = (project / "test" / "output" / "0" / "CenterNet2_bs8_8p_acc.log").read_text()
    assert "RankSize = 8" in case and "TrainAccuracy = " in case
    assert (project / "eight" / "model_final.pth").is_file()
