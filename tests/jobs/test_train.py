"""The training job on a tiny data set, from Python and the command line."""

import errno
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor

import centernet2
from centernet2 import outputs
from centernet2.builders.detector.loading import stored_config
from centernet2.checkpoint import checkpoint
from centernet2.evaluation.scoring import Scored
from centernet2.jobs import InferenceOptions
from centernet2.jobs.train import TrainMode
from centernet2.models.detector import Detector
from centernet2.models.optimize import InferenceDetector
from tests.helpers.jobs import save_untrained
from tests.helpers.training import SMALL, TINY, assert_same_weights, dry_run, train


def test_gradient_checkpointing_keeps_gradients(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "plain", "SOLVER.MAX_ITER", "2")
    train(data, tmp_path / "again", "SOLVER.MAX_ITER", "2", "SOLVER.GRADIENT_CHECKPOINTING", "True")
    assert_same_weights(tmp_path / "plain", tmp_path / "again")


def test_dry_run_describes_plan_writes_nothing(data: Path, tmp_path: Path) -> None:
    lines = dry_run(data, tmp_path / "run", "SOLVER.MAX_EPOCHS", "3")
    text = "\n".join(lines)
    assert "4 images, 4 objects, 1 class" in text
    assert "length: 6 iterations = 3.00 epochs" in text
    assert "batch: 2 images = 1 process x 2" in text
    assert "loss_centernet_loc" in text
    assert not (tmp_path / "run").exists()


def test_indivisible_batch_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        centernet2.ConfigError, match=r"IMS_PER_BATCH 2 cannot be divided evenly.* 3 SOLVER.ACC"
    ):
        train(data, tmp_path, "SOLVER.ACCUMULATION_STEPS", "3")


def test_conflicting_options_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        centernet2.ConfigError,
        match=r"exclude each other.*SOLVER.GRADIENT_CHECKPOINTING, SOLVER.COMPILE",
    ):
        train(data, tmp_path, "SOLVER.COMPILE", "True", "SOLVER.GRADIENT_CHECKPOINTING", "True")


@pytest.mark.long
def test_compiled_training_gives_equal_losses(data: Path, tmp_path: Path) -> None:
    steps = ["SOLVER.MAX_ITER", "2", "SOLVER.LOG_PERIOD", "1", "TEST.EVAL_PERIOD", "-1"]
    train(data, tmp_path / "plain", *steps)
    train(data, tmp_path / "compiled", *steps, "SOLVER.COMPILE", "True")
    plain, compiled = (
        [
            json.loads(line)["total_loss"]
            for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in ("plain", "compiled")
    )
    assert compiled == pytest.approx(plain, rel=1e-2)


def test_wrong_number_of_classes_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(centernet2.ConfigError, match=r"is 80, but .* has 1 class"):
        train(data, tmp_path, "MODEL.ROI_HEADS.NUM_CLASSES", "80")


def refuse(dir: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", dir)


def test_unwritable_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "no_data"
    (tmp_path / "file").touch()
    for start in (train, dry_run):
        with pytest.raises(
            ValueError, match=r"--output-dir .*x cannot be used: .*file is not a folder"
        ):
            start(nowhere, tmp_path / "file" / "x")
    monkeypatch.setattr(outputs, "TemporaryFile", refuse)
    with pytest.raises(ValueError, match=r"--output-dir .*x cannot be used: .* cannot be written"):
        train(nowhere, tmp_path / "x")


def test_checkpoint_carries_its_classes(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "SOLVER.MAX_ITER", "1")
    weights = tmp_path / "model_final.pth"
    model = centernet2.build_model("CenterNet2_R18_small", weights=weights)
    assert model.info.class_names == ("block",)
    assert model.roi_heads is not None and model.roi_heads.num_classes == 1
    stated = centernet2.load_config("CenterNet2_R18_small", ["MODEL.ROI_HEADS.NUM_CLASSES", "80"])
    with pytest.raises(centernet2.ConfigError, match=r"is 80, but .*model_final.pth has 1 class"):
        centernet2.build_model(stated, weights=weights)


def test_federated_loss_weights_classes_by_images(data: Path, tmp_path: Path) -> None:
    loss = [
        "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True", "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True",
        "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", "1",
    ]  # fmt: skip
    train(data, tmp_path, "SOLVER.MAX_ITER", "1", *loss)
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    # the root of the 4 images that hold the class
    assert state["roi_heads.stages.0.class_weight"].tolist() == [2.0]


def test_command_line_mistake_exits_with_2(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "centernet2", "train", "--config-file", "CenterNet2_R18_small",
        "--data",
    ]  # fmt: skip
    done = subprocess.run(
        [*command, str(tmp_path / "none")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_pictures_of_batches_and_evaluations(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "TEST.EVAL_PERIOD", "2", "SOLVER.PICTURES", "2")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    batches = ["batch_0000001.jpg", "batch_0000002.jpg"]
    assert names == [*batches, "predictions_0000002.jpg", "predictions_0000004.jpg"]
    with Image.open(tmp_path / "pictures" / names[-1]) as grid:
        assert grid.width > 4 * 300  # two images, each with its ground truth


def test_pictures_can_be_switched_off(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "SOLVER.PICTURES", "0", "SOLVER.MAX_ITER", "1")
    assert not (tmp_path / "pictures").exists()


def test_images_with_crowds_only(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crowds"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(data / "images")
    keep_empty = ("DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False")

    def keep(kept: dict[str, int]) -> None:
        """Keep some objects of each split; make the others crowds."""
        for split, count in kept.items():
            content = json.loads((data / "annotations" / f"instances_{split}.json").read_text())
            for each in content["annotations"][count:]:
                each["iscrowd"] = 1
            (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))

    keep({"train": 0, "val": 1})
    with pytest.raises(
        ValueError, match=r"no image has .* to train on; \d+ annotations are crowds"
    ):
        train(folder, tmp_path / "none", *keep_empty)
    keep({"train": 1, "val": 0})
    with pytest.raises(ValueError, match=r"no image has .* no AP to compute; \d+ annotations are"):
        train(folder, tmp_path / "none", *keep_empty)
    keep({"train": 1, "val": 1})
    train(folder, tmp_path / "one", *keep_empty)
    lines = (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["skipped_steps"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("steps", [400, pytest.param(2000, marks=pytest.mark.long)])
def test_memory_stays_flat(data: Path, tmp_path: Path, steps: int) -> None:
    """Run in a new process, because peak memory covers the whole life of a process."""
    options = [
        *TINY, "SOLVER.IMS_PER_BATCH", "1", "SOLVER.MAX_ITER", str(steps),
        "SOLVER.CHECKPOINT_PERIOD", str(steps), "SOLVER.LOG_PERIOD", "100",
        "TEST.EVAL_PERIOD", "-1", "SOLVER.PICTURES", "0",
    ]  # fmt: skip
    command = [
        "train", "--config-file", "CenterNet2_R18_small", "--data", str(data),
        "--output-dir", str(tmp_path),
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "centernet2", *command, "--device", "cpu", "--seed", "1", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    peaks = {line["iteration"]: line["peak_memory_mb"] for line in lines}
    assert peaks[steps] - peaks[steps // 4] < 0.02 * peaks[steps // 4], peaks


def test_eval_only_equals_eval(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both evaluate the optimized model, so their metrics are equal."""
    train(data, tmp_path, "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "-1")
    weights, kinds = tmp_path / "model_final.pth", []
    place = {"data": data, "output_dir": tmp_path / "eval"}
    from centernet2.builders.evaluation import evaluator

    detect = evaluator.score_matched

    def look(model: Detector, *args: Any, **options: Any) -> Scored:
        kinds.append(type(model))
        return detect(model, *args, **options)

    monkeypatch.setattr(evaluator, "score_matched", look)
    expected = centernet2.evaluate(weights, inference=InferenceOptions("cpu"), **place)
    mode = TrainMode(eval_only=True)
    metrics = centernet2.train(
        SMALL, *TINY, "OUTPUT_DIR", str(tmp_path / "auto"),
        data=data, weights=weights, device="cpu", mode=mode,
    )  # fmt: skip
    assert kinds == [InferenceDetector, InferenceDetector]
    assert str(metrics) == str(expected)  # NaN is not equal to itself
    for folder in ("eval", SMALL):
        assert (tmp_path / folder / "predictions.json").is_file()


def test_eval_only_takes_options_and_data_of_the_run(data: Path, tmp_path: Path) -> None:
    """The config of the checkpoint, and with --resume what the run was started with."""
    run, mode = tmp_path / "run", TrainMode(eval_only=True)
    train(data, run, "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "-1", "INPUT.MIN_SIZE_TEST", "48")
    expected = centernet2.evaluate(run, data=data, inference=InferenceOptions("cpu"))
    resumed = centernet2.train(output_dir=run, resume=True, mode=mode)
    given = centernet2.train(
        data=data, output_dir=tmp_path / "out", weights=run, device="cpu", mode=mode
    )
    assert str(resumed) == str(given) == str(expected)
    other = centernet2.train(
        None, "INPUT.MIN_SIZE_TEST", "64",
        data=data, output_dir=tmp_path / "64", weights=run, device="cpu", mode=mode,
    )  # fmt: skip
    predictions = [folder / "predictions.json" for folder in (run, tmp_path / "64")]
    assert isinstance(other, dict)
    assert predictions[0].read_text() != predictions[1].read_text()


def test_eval_only_writes_to_the_folder_of_the_config_that_it_uses(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --config-file that is the config of the checkpoint, whose weights are read once."""
    weights = save_untrained(tmp_path / "weights.pth", ("block",))
    monkeypatch.chdir(tmp_path)
    read = Counter[str]()

    def count(value: Tensor, name: str, origin: object) -> Tensor:
        read[name] += 1
        return value

    monkeypatch.setattr(checkpoint, "require_weight", count)
    mode = TrainMode(eval_only=True)
    centernet2.train(data=data, weights=weights, device="cpu", mode=mode)
    assert (Path("output") / SMALL / "predictions.json").is_file()
    assert set(read.values()) == {1}
    assert stored_config("zoo:CenterNet2_R50_1x").name == "CenterNet2_R50_1x"


def test_eval_only_needs_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--eval-only evaluates weights, and none are given"):
        centernet2.train(data=data, output_dir=tmp_path, mode=TrainMode(eval_only=True))


def test_dry_run_of_an_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="give either --dry-run or --eval-only"):
        centernet2.train(SMALL, mode=TrainMode(dry_run=True, eval_only=True))


@pytest.mark.parametrize(("mode", "option"), [
    (TrainMode(eval_only=True, minutes=5), "--minutes"),
    (TrainMode(eval_only=True, effort="quick"), "--effort"),
    (TrainMode(eval_only=True, auto_scale_lr=True), "--auto-scale-lr"),
    (TrainMode(eval_only=True, keep_classes=True), "--keep-classes"),
])  # fmt: skip
def test_options_of_training_are_refused_beside_an_evaluation(mode: TrainMode, option: str) -> None:
    with pytest.raises(ValueError, match=f"leave out {option} beside --eval-only"):
        centernet2.train(SMALL, mode=mode)


def test_seed_is_refused_beside_an_evaluation() -> None:
    with pytest.raises(ValueError, match="leave out --seed beside --eval-only"):
        centernet2.train(SMALL, seed=1, mode=TrainMode(eval_only=True))


def test_no_weights_are_hashed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are hashed only for an evaluation that may be resumed."""

    def fail(*_: object) -> str:
        raise AssertionError("the weights are hashed")

    monkeypatch.setattr("centernet2.builders.evaluation.evaluator.digest_of", fail)
    assert "bbox/AP" in train(data, tmp_path, "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "1")


def test_process_group_ends_after_an_error(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    with pytest.raises(FileNotFoundError):
        train(tmp_path / "no_data", tmp_path / "run")
    assert not dist.is_initialized()
