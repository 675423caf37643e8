"""Training that is interrupted, resumed, or meets files of another training run."""

import json
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import centernet2
from centernet2.builders.detector.loading import config_of
from centernet2.builders.detector.network import build_detector
from centernet2.builders.training.solver import build_optimizer
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.exit_codes import TrainedWithoutEvaluation, TrainingInterrupted
from tests.helpers.training import SMALL, TINY, assert_same_weights, train, write_blocks

EVERYTHING = [
    "SOLVER.AMP.ENABLED", "True", "SOLVER.ACCUMULATION_STEPS", "2",
    "SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model",
    "SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5",
    "SOLVER.GRADIENT_CHECKPOINTING", "True", "SOLVER.CHANNELS_LAST", "True",
    "SOLVER.OPTIMIZER", "ADAMW", "SOLVER.BASE_LR", "0.001", "SOLVER.LAYER_DECAY", "0.9",
    "SOLVER.SYNC_BN", "True", "TEST.EVAL_PERIOD", "2", "SOLVER.CHECKPOINTS_KEPT", "1",
    "INPUT.MIN_SIZE_TRAIN", "(96,)",
]  # fmt: skip


def test_resumed_run_equals_uninterrupted_run(data: Path, tmp_path: Path) -> None:
    metrics = train(data, tmp_path / "whole")
    train(data, tmp_path / "parts", "SOLVER.TRAIN_ITER", "2")
    train(data, tmp_path / "parts", "SOLVER.TRAIN_ITER", "-1", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert set(metrics) >= {"bbox/AP", "bbox/AP50", "bbox/AP/block"}
    predictor = centernet2.load_predictor(tmp_path / "whole" / "model_final.pth", device="cpu")
    assert predictor.class_names == ("block",)
    assert predictor(data / "images" / "1.png").boxes.shape[1] == 4
    model = centernet2.load_model(tmp_path / "whole" / "model_final.pth")
    again = centernet2.evaluate(model, data=data)["bbox/AP"]
    assert again == pytest.approx(metrics["bbox/AP"], abs=1e-6)


def test_resume_without_a_seed_is_exact_too(data: Path, tmp_path: Path) -> None:
    """The chosen seed is part of the config, which the resumed run takes it from."""
    end = ["TEST.EVAL_PERIOD", "-1"]
    train(data, tmp_path / "parts", *end, "SOLVER.TRAIN_ITER", "2", seed=None)
    seed = centernet2.load_config(tmp_path / "parts" / "config.yaml").run.seed
    train(data, tmp_path / "parts", *end, "SOLVER.TRAIN_ITER", "-1", resume=True, seed=None)
    train(data, tmp_path / "whole", *end, seed=seed)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_all_training_options_together_resume(data: Path, tmp_path: Path) -> None:
    metrics = train(data, tmp_path / "whole", *EVERYTHING)
    train(data, tmp_path / "parts", *EVERYTHING, "SOLVER.TRAIN_ITER", "2")
    train(data, tmp_path / "parts", *EVERYTHING, "SOLVER.TRAIN_ITER", "-1", resume=True)
    names = ("model_final.pth", "model_final_ema.pth")
    for name in names:
        assert_same_weights(tmp_path / "whole", tmp_path / "parts", name)
    assert {"bbox/AP", "ema/bbox/AP"} <= set(metrics)
    raw, averaged = (centernet2.load_model(tmp_path / "whole" / name) for name in names)
    assert not torch.equal(raw.neck.lateral.p3.weight, averaged.neck.lateral.p3.weight)
    again = centernet2.evaluate(averaged, data=data)["bbox/AP"]
    assert again == pytest.approx(metrics["ema/bbox/AP"], abs=1e-6)
    files = {path.name for path in (tmp_path / "whole").glob("*.pth")}
    assert files == {
        "model_0000004.pth", "model_best.pth", "model_final.pth", "model_final_ema.pth",
    }  # fmt: skip


def test_earlier_run_is_moved(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.is_relative_to(folder / "earlier_1")
        }

    train(data, tmp_path, "SOLVER.TRAIN_ITER", "2")
    first = content(tmp_path)
    (tmp_path / "notes.txt").touch()  # of the user
    options = ["TEST.EVAL_PERIOD", "-1", "SOLVER.TRAIN_ITER", "1"]
    train(data, tmp_path, *options)
    assert content(tmp_path / "earlier_1") == first
    assert "model_final.pth" in first and "eval/predictions.json" in first
    assert "earlier training run: it is moved to" in caplog.text
    assert [path.name for path in tmp_path.glob("model_0*.pth")] == ["model_0000001.pth"]
    second = content(tmp_path)
    train(data, tmp_path, *options, resume=True)
    assert not (tmp_path / "earlier_2").exists()
    train(data, tmp_path, *options)
    assert (tmp_path / "notes.txt").is_file()
    moved = content(tmp_path / "earlier_2")
    assert moved["model_final.pth"] == second["model_final.pth"]
    train(data, tmp_path / "earlier_1", "SOLVER.TRAIN_ITER", "3", resume=True)


def test_run_that_has_saved_nothing_is_replaced(data: Path, tmp_path: Path) -> None:
    (tmp_path / "command.yaml").write_text("killed before the first checkpoint")
    options = ["TEST.EVAL_PERIOD", "-1", "SOLVER.TRAIN_ITER", "1"]
    train(data, tmp_path, *options)
    assert not (tmp_path / "earlier_1").exists()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "pictures", "eval"])
def test_files_that_no_run_has_written_are_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name if "." in name else tmp_path / name / "mine.png"
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ValueError, match=rf"holds '{name}', which no training run has written"):
        train(tmp_path / "no_data", tmp_path)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_data_folder_is_no_output_folder_twice(tmp_path: Path) -> None:
    """Its folder pictures/ may be of the data."""
    data = write_blocks(tmp_path)
    (data / "command.yaml").touch()
    with pytest.raises(ValueError, match=r"--data .* belongs to the earlier run"):
        train(data, data)


def test_new_run_does_not_move_its_inputs(data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model_final.pth"
    weights.touch()
    (tmp_path / "config.yaml").write_text("MODEL:\n  MASK_ON: False\n")
    for options in (
        {"weights": weights},
        {"weights": tmp_path},
        {"config": tmp_path / "config.yaml"},
        {"config": centernet2.load_config(SMALL, ["MODEL.WEIGHTS", str(weights)])},
    ):
        given: dict[str, Any] = {"config": SMALL, **options}
        with pytest.raises(ValueError, match=r"belongs to the earlier run in the output folder"):
            centernet2.train(data=data, output_dir=tmp_path, device="cpu", **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "model_final.pth"]


def test_resume_without_checkpoint_starts_anew(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "1", "TEST.EVAL_PERIOD", "-1", resume=True)
    assert "to resume from: training starts at iteration 0" in caplog.text


def test_resume_with_changed_config(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "2")
    with pytest.raises(centernet2.ConfigError, match=r"MODEL.FPN.OUT_CHANNELS 64 -> 32"):
        train(data, tmp_path, "MODEL.FPN.OUT_CHANNELS", "32", resume=True)
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "1", resume=True)
    assert "changed since the checkpoint was written: SOLVER.TRAIN_ITER 2 -> 1\n" in caplog.text
    assert "all 1 iterations are done; a larger SOLVER.TRAIN_ITER continues" in caplog.text


CHANGES = [
    "SOLVER.BASE_LR", "0.03", "SOLVER.BIAS_LR_FACTOR", "2.0", "SOLVER.LAYER_DECAY", "0.5",
    "SOLVER.WEIGHT_DECAY", "0.002", "SOLVER.WEIGHT_DECAY_NORM", "0.002", "SOLVER.MOMENTUM", "0.8",
    "SOLVER.NESTEROV", "True", "SOLVER.WARMUP_ITERS", "0", "SOLVER.STEPS", "(2,)",
    "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR",
    "SOLVER.GAMMA", "0.5", "SOLVER.MAX_ITER", "3", "SOLVER.LOG_PERIOD", "1",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.5", "SOLVER.EMA.ENABLED", "True", "SEED", "5",
    "SOLVER.AMP.ENABLED", "True", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.ACCUMULATION_STEPS", "2",
    "SOLVER.GRADIENT_CHECKPOINTING", "True", "SOLVER.SYNC_BN", "True",
    "SOLVER.CHANNELS_LAST", "True", "INPUT.MIN_SIZE_TRAIN", "(96,)",
    "MODEL.CENTERNET.REG_WEIGHT", "3.0",
]  # fmt: skip


def test_changed_options_are_obeyed_and_the_others_stay(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second command gives the changes alone: data, sizes and the like are repeated."""
    quick = ["TEST.EVAL_PERIOD", "-1", "SOLVER.PICTURES", "0", "SOLVER.CHECKPOINT_PERIOD", "1"]
    train(data, tmp_path, *quick, "SOLVER.MAX_ITER", "2")
    pairs = [*CHANGES[: CHANGES.index("SEED")], *CHANGES[CHANGES.index("SEED") + 2 :]]
    centernet2.train(None, *pairs, output_dir=tmp_path, resume=True, seed=5)
    checkpoint = load_checkpoint(tmp_path / "model_0000003.pth")
    assert checkpoint.training is not None
    config, expected = config_of(checkpoint.info), centernet2.load_config(SMALL, [*TINY, *CHANGES])
    assert [key for key in config.changed_from(expected) if "NUM_CLASSES" not in key] == [
        "SOLVER.CHECKPOINT_PERIOD", "SOLVER.PICTURES", "TEST.EVAL_PERIOD",
    ]  # fmt: skip
    optimizer = build_optimizer(expected, build_detector(config))
    groups = checkpoint.training["parts"]["optimizer"]["param_groups"]
    for saved, group in zip(groups, optimizer.param_groups, strict=True):
        assert saved["names"] == group["names"]
        assert saved["initial_lr"] == group["lr"]
        assert saved["lr"] == group["lr"] * 0.5  # of the next step
        for name in ("weight_decay", "momentum", "nesterov"):
            assert saved[name] == group[name]
    assert len({group["lr"] for group in groups}) == 8
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[-1]["iteration"] == 3
    assert lines[-1]["lr"] == pytest.approx(0.06 * 0.5)
    assert "average" in checkpoint.training["parts"]
    changed = caplog.text.rpartition("changed since the checkpoint was written: ")[2]
    assert all(f"{key} " in changed for key in CHANGES[::2])


def test_failed_evaluation_leaves_final_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> dict[str, float]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("centernet2.builders.training.training_run.evaluate_dataset", fail)
        with pytest.raises(TrainedWithoutEvaluation, match="out of memory"):
            train(data, tmp_path, "SOLVER.CHECKPOINT_PERIOD", "100")
    files = ["model_0000004.pth", "model_final.pth"]
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == files
    assert load_checkpoint(tmp_path / "model_final.pth").metrics == {}
    metrics = train(data, tmp_path, "SOLVER.CHECKPOINT_PERIOD", "100", resume=True)
    assert "bbox/AP" in metrics
    assert "bbox/AP" in load_checkpoint(tmp_path / "model_final.pth").metrics


def test_resume_after_early_stop_does_not_train(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "centernet2.builders.training.training_run.evaluate_dataset",
        lambda *_, **__: {"bbox/AP": 1.0},
    )
    options = ["TEST.EVAL_PERIOD", "1", "SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.PICTURES", "0"]
    train(data, tmp_path, *options, "TEST.PATIENCE", "1")
    for patience, last in (("1", 2), ("2", 3)):
        with caplog.at_level(logging.INFO):
            metrics = train(data, tmp_path, *options, "TEST.PATIENCE", patience, resume=True)
        assert metrics == {"bbox/AP": 1.0}
        assert load_checkpoint(tmp_path / "model_final.pth").iteration == last
        assert load_checkpoint(tmp_path / "model_final.pth").metrics == metrics
        assert max(tmp_path.glob("model_0*.pth")).name == f"model_{last:07d}.pth"
    assert "stopped early at iteration 2; a larger TEST.PATIENCE continues it" in caplog.text


def test_signal_in_evaluation_resumes_with_evaluation(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        "TEST.EVAL_PERIOD", "2", "TEST.IMS_PER_BATCH", "1", "SOLVER.CHECKPOINT_PERIOD", "100",
    ]  # fmt: skip
    train(data, tmp_path / "whole", *options)
    evaluated: list[int] = []

    def write(stream: ResultStream, image_id: int, result: ImageResult) -> None:
        evaluated.append(image_id)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(ResultStream, "write", write)
        with pytest.raises(TrainingInterrupted):
            train(data, tmp_path / "parts", *options)
    assert len(evaluated) == 1  # of four images
    train(data, tmp_path / "parts", *options, resume=True)
    for name in ("model_final.pth", "model_best.pth"):
        assert_same_weights(tmp_path / "whole", tmp_path / "parts", name)
    whole, parts = (
        [line for line in (tmp_path / run / "metrics.jsonl").open() if "eval/bbox/AP" in line]
        for run in ("whole", "parts")
    )
    assert [json.loads(line)["iteration"] for line in whole] == [2, 4] and whole == parts


def test_machines_must_share_output_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "2")
    monkeypatch.setattr(  # the name of the last checkpoint is the only text
        "centernet2.distributed.gather_objects",
        lambda mine: [mine, None if isinstance(mine, str) else mine],
    )
    with pytest.raises(
        centernet2.ConfigError, match=r"model_0000002.pth by process 0, none by process 1"
    ):
        train(data, tmp_path, resume=True)


def test_resume_without_a_run_names_the_runs_nearby(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "command.yaml").write_text("")
    (tmp_path / "runs" / "notes").mkdir()
    missing = tmp_path / "runs" / "frist"
    for folder, reason in ((missing, "does not exist"), (tmp_path / "runs", "holds no checkpoint")):
        with pytest.raises(ValueError, match=reason) as error:
            centernet2.train(output_dir=folder, resume=True, device="cpu")
        assert "coco" not in str(error.value) and "notes" not in str(error.value)
        assert "/first" in str(error.value) and "/second" in str(error.value)
        assert "name its --output-dir, or the --data of a new run" in str(error.value)
    with pytest.raises(ValueError, match=r"frist does not exist; runs near it: .*/first, .*either"):
        centernet2.train(SMALL, output_dir=missing, resume=True, data_path=tmp_path, device="cpu")
    assert not missing.exists()


def test_finished_run_without_checkpoints_is_not_trained_again(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model_final.pth").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"only model_final\.pth of a finished run.*--weights"):
        train(data, tmp_path, resume=True)
    assert (tmp_path / "model_final.pth").read_bytes() == b"weights"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of a file"])
def test_half_written_checkpoint_is_not_resumed(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model_0000002.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read; to start over"):
        train(data, tmp_path, resume=True)


def test_longer_run_says_that_chosen_thresholds_end(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "-1")
    final = tmp_path / "model_final.pth"
    trained = load_checkpoint(final)
    info = replace(trained.info, score_thresholds=(0.5,))
    save_checkpoint(final, replace(trained, info=info))
    train(data, tmp_path, "SOLVER.MAX_ITER", "1", resume=True)
    assert "score thresholds" not in caplog.text  # no step was left, and they are kept
    train(data, tmp_path, "SOLVER.MAX_ITER", "2", resume=True)
    assert f"{final} holds score thresholds; they are of its weights" in caplog.text
    assert not load_checkpoint(final).info.score_thresholds
