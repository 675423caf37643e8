"""The main job on a tiny data set: train, stop, resume, evaluate, predict, from the interface and the command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import centernet2
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.jobs.train import TrainingInterrupted, dry_run

TINY = [
    "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "DATALOADER.NUM_WORKERS", "0",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(1, 5):
        pixels = np.full((64, 64, 3), 40, np.uint8)
        pixels[8 * i : 8 * i + 20, 10:34] = 220
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        box = [10, 8 * i, 24, 20]
        annotations.append(
            {"id": i, "image_id": i, "category_id": 7, "bbox": box, "area": 480, "iscrowd": 0}
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "block"}],
    }
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def train(data: Path, output: Path, *options: str, resume: bool = False) -> dict[str, float]:
    config = centernet2.load_config("CenterNet2_R18_small", [*TINY, *options])
    return centernet2.train(
        config, data=data, output_dir=output, seed=3, device="cpu", resume=resume
    )


def test_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    data: Path, tmp_path: Path
) -> None:
    metrics = train(data, tmp_path / "whole")
    train(data, tmp_path / "parts", "SOLVER.TRAIN_ITER", "2")
    train(data, tmp_path / "parts", resume=True)
    whole, parts = (
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)
        for name in ("whole", "parts")
    )
    assert set(metrics) >= {"bbox/AP", "bbox/AP50", "bbox/AP/block"}
    assert whole["class_names"] == ("block",)
    for key, tensor in whole["model"].items():
        assert torch.equal(tensor, parts["model"][key]), key

    predictor = centernet2.load_predictor(tmp_path / "whole" / "model_final.pth", device="cpu")
    assert predictor.class_names == ("block",)
    assert predictor(data / "images" / "1.png")["boxes"].shape[1] == 4
    model = centernet2.load_model(tmp_path / "whole" / "model_final.pth")
    assert centernet2.evaluate(model, data=data)["bbox/AP"] == pytest.approx(
        metrics["bbox/AP"], abs=1e-6
    )


EVERYTHING = [
    "SOLVER.AMP.ENABLED", "True", "SOLVER.ACCUMULATION_STEPS", "2", "SOLVER.CLIP_GRADIENTS.ENABLED", "True",
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model", "SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5",
    "SOLVER.GRADIENT_CHECKPOINTING", "True", "SOLVER.CHANNELS_LAST", "True", "SOLVER.OPTIMIZER", "ADAMW",
    "SOLVER.BASE_LR", "0.001", "SOLVER.LAYER_DECAY", "0.9", "SOLVER.SYNC_BN", "True", "TEST.EVAL_PERIOD", "2",
    "SOLVER.CHECKPOINTS_KEPT", "1", "INPUT.MIN_SIZE_TRAIN", "(96,)",
]  # fmt: skip


def test_every_option_of_training_together_and_resumed(data: Path, tmp_path: Path) -> None:
    metrics = train(data, tmp_path / "whole", *EVERYTHING)
    train(data, tmp_path / "parts", *EVERYTHING, "SOLVER.TRAIN_ITER", "2")
    train(data, tmp_path / "parts", *EVERYTHING, resume=True)
    for name in ("model_final.pth", "model_final_ema.pth"):
        whole, parts = (
            torch.load(tmp_path / run / name, weights_only=True)["model"]
            for run in ("whole", "parts")
        )
        assert all(torch.equal(tensor, parts[key]) for key, tensor in whole.items())
    assert {"bbox/AP", "ema/bbox/AP"} <= set(metrics)
    raw, averaged = (
        centernet2.load_model(tmp_path / "whole" / f"model_{n}.pth") for n in ("final", "final_ema")
    )
    assert not torch.equal(
        raw.state_dict()["neck.lateral.p3.weight"], averaged.state_dict()["neck.lateral.p3.weight"]
    )
    assert centernet2.evaluate(averaged, data=data)["bbox/AP"] == pytest.approx(
        metrics["ema/bbox/AP"], abs=1e-6
    )
    files = {path.name for path in (tmp_path / "whole").glob("*.pth")}
    assert files == {
        "model_0000004.pth",
        "model_best.pth",
        "model_final.pth",
        "model_final_ema.pth",
    }


def test_checkpointed_gradients_are_the_same(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "plain", "SOLVER.MAX_ITER", "2")
    train(data, tmp_path / "again", "SOLVER.MAX_ITER", "2", "SOLVER.GRADIENT_CHECKPOINTING", "True")
    plain, again = (
        torch.load(tmp_path / run / "model_final.pth", weights_only=True)["model"]
        for run in ("plain", "again")
    )
    assert all(torch.equal(tensor, again[key]) for key, tensor in plain.items())


def test_a_dry_run_tells_the_plan_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    config = centernet2.load_config("CenterNet2_R18_small", [*TINY, "SOLVER.MAX_EPOCHS", "3"])
    lines = dry_run(config, data=data, output_dir=tmp_path / "run", seed=3, device="cpu")
    text = "\n".join(lines)
    assert "4 images, 4 objects, 1 classes" in text
    assert "length: 6 iterations = 3.00 epochs" in text
    assert "batch: 2 images = 1 processes x 2" in text
    assert "loss_centernet_loc" in text
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_shared_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        centernet2.ConfigError, match=r"IMS_PER_BATCH 2 cannot be shared evenly.* 3 SOLVER.ACC"
    ):
        train(data, tmp_path, "SOLVER.ACCUMULATION_STEPS", "3")


def test_options_that_exclude_each_other_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        centernet2.ConfigError, match=r"COMPILE and SOLVER.GRADIENT_CHECKPOINTING exclude"
    ):
        train(data, tmp_path, "SOLVER.COMPILE", "True", "SOLVER.GRADIENT_CHECKPOINTING", "True")


@pytest.mark.slow
def test_compiled_training_is_the_same(data: Path, tmp_path: Path) -> None:
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


def test_a_configuration_that_states_another_number_of_classes_is_refused(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(centernet2.ConfigError, match=r"is 80, but .* has 1 classes"):
        train(data, tmp_path, "MODEL.ROI_HEADS.NUM_CLASSES", "80")


def test_checkpoints_of_an_earlier_training_are_not_taken_for_new_ones(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "TEST.EVAL_PERIOD", "-1")  # leaves those of steps 2 and 4
    options = ["TEST.EVAL_PERIOD", "-1", "SOLVER.TRAIN_ITER", "1", "SOLVER.CHECKPOINTS_KEPT", "1"]
    train(data, tmp_path, *options)
    assert [path.name for path in tmp_path.glob("model_0*.pth")] == ["model_0000001.pth"]
    assert "renamed to *.old: model_0000002.pth, model_0000004.pth" in caplog.text
    train(data, tmp_path, *options, resume=True)
    assert len(list(tmp_path.glob("*.old"))) == 2


def test_resuming_where_nothing_is(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "1", "TEST.EVAL_PERIOD", "-1", resume=True)
    assert "to resume from: training begins at its start" in caplog.text


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "no_data"
    (tmp_path / "file").touch()
    for start in (train, dry_run_of):
        with pytest.raises(
            centernet2.ConfigError, match=r"--output-dir .*x cannot be used: .*file is no folder"
        ):
            start(nowhere, tmp_path / "file" / "x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(
        centernet2.ConfigError, match=r"--output-dir .*x cannot be used: .* cannot be written"
    ):
        train(nowhere, tmp_path / "x")


def dry_run_of(data: Path, output: Path) -> list[str]:
    return dry_run("CenterNet2_R18_small", data=data, output_dir=output)


def test_resuming_with_other_settings(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "2")
    with pytest.raises(centernet2.ConfigError, match=r"MODEL.FPN.OUT_CHANNELS 64 -> 32"):
        train(data, tmp_path, "MODEL.FPN.OUT_CHANNELS", "32", resume=True)
    train(data, tmp_path, "SOLVER.MAX_ITER", "3", resume=True)
    assert "SOLVER.MAX_ITER 4 -> 3" in caplog.text


def test_an_evaluation_that_fails_costs_no_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> dict[str, float]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("centernet2.training.job.evaluate_dataset", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            train(data, tmp_path, "SOLVER.CHECKPOINT_PERIOD", "100")
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000004.pth"]
    metrics = train(data, tmp_path, "SOLVER.CHECKPOINT_PERIOD", "100", resume=True)
    assert "bbox/AP" in metrics
    assert (tmp_path / "model_final.pth").is_file()


def test_a_signal_ends_an_evaluation_which_comes_first_when_training_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        "TEST.EVAL_PERIOD",
        "2",
        "TEST.IMS_PER_BATCH",
        "1",
        "SOLVER.CHECKPOINT_PERIOD",
        "100",
    ]
    train(data, tmp_path / "whole", *options)
    evaluated: list[int] = []

    def write(stream: ResultStream, image_id: int, found: ImageResult) -> None:
        evaluated.append(image_id)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(ResultStream, "write", write)
        with pytest.raises(TrainingInterrupted):
            train(data, tmp_path / "parts", *options)
    assert len(evaluated) == 1  # of four images
    train(data, tmp_path / "parts", *options, resume=True)
    for name in ("model_final.pth", "model_best.pth"):
        whole, parts = (
            torch.load(tmp_path / run / name, weights_only=True) for run in ("whole", "parts")
        )
        assert whole["iteration"] == parts["iteration"]
        assert all(
            torch.equal(tensor, parts["model"][key]) for key, tensor in whole["model"].items()
        )
    figures = [
        [
            line
            for line in map(json.loads, (tmp_path / run / "metrics.jsonl").open())
            if "eval/bbox/AP" in line
        ]
        for run in ("whole", "parts")
    ]
    assert [line["iteration"] for line in figures[0]] == [2, 4]
    assert str(figures[0]) == str(figures[1])  # NaN is not equal to itself


def test_machines_that_find_different_checkpoints(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(data, tmp_path, "SOLVER.TRAIN_ITER", "2")
    monkeypatch.setattr("centernet2.distributed.gather_objects", lambda mine: [mine, None])
    with pytest.raises(
        centernet2.ConfigError, match=r"model_0000002.pth by process 0, none by process 1"
    ):
        train(data, tmp_path, resume=True)


def test_a_checkpoint_brings_its_classes_along(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "SOLVER.MAX_ITER", "1")
    weights = tmp_path / "model_final.pth"
    model = centernet2.build_model("CenterNet2_R18_small", weights=weights)
    assert model.info.class_names == ("block",)
    assert model.roi_heads is not None and model.roi_heads.num_classes == 1
    stated = centernet2.load_config("CenterNet2_R18_small", ["MODEL.ROI_HEADS.NUM_CLASSES", "80"])
    with pytest.raises(centernet2.ConfigError, match=r"is 80, but .*model_final.pth has 1 classes"):
        centernet2.build_model(stated, weights=weights)


def test_federated_classes_are_weighed_by_their_images(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "SOLVER.MAX_ITER", "1", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True",
          "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", "1")  # fmt: skip
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert state["roi_heads.stages.0.class_weight"].tolist() == [
        2.0
    ]  # the root of the 4 images that hold the class


def test_a_mistake_on_the_command_line_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "centernet2",
        "train",
        "--config-file",
        "CenterNet2_R18_small",
        "--data",
    ]
    done = subprocess.run(
        [*command, str(tmp_path / "none")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_pictures_of_the_first_batches_and_of_each_evaluation(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "TEST.EVAL_PERIOD", "2", "SOLVER.PICTURES", "2")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    batches = ["batch_0000001.jpg", "batch_0000002.jpg"]
    assert names == [*batches, "predictions_0000002.jpg", "predictions_0000004.jpg"]
    with Image.open(tmp_path / "pictures" / names[-1]) as sheet:
        assert sheet.width > 4 * 300  # two images, each with its ground truth


def test_no_pictures_where_none_are_wanted(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path, "SOLVER.PICTURES", "0", "SOLVER.MAX_ITER", "1")
    assert not (tmp_path / "pictures").exists()


def test_images_that_hold_crowds_only(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crowds"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(data / "images")
    for split in ("train", "val"):
        content = json.loads((data / "annotations" / f"instances_{split}.json").read_text())
        content["annotations"] = [{**each, "iscrowd": 1} for each in content["annotations"]]
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no image has an object to train on"):
        train(folder, tmp_path / "none")
    metrics = train(folder, tmp_path / "empty", "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False")
    assert np.isnan(metrics["bbox/AP"])
    lines = (tmp_path / "empty" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["skipped_steps"] == 0


@pytest.mark.slow
def test_memory_does_not_grow_over_two_thousand_steps(data: Path, tmp_path: Path) -> None:
    """In a process of its own: the peak of this one has been higher before."""
    options = [
        *TINY, "INPUT.MIN_SIZE_TRAIN", "(64,)", "SOLVER.IMS_PER_BATCH", "1", "SOLVER.MAX_ITER", "2000",
        "SOLVER.CHECKPOINT_PERIOD", "2000", "SOLVER.LOG_PERIOD", "100", "TEST.EVAL_PERIOD", "-1",
        "SOLVER.PICTURES", "0",
    ]  # fmt: skip
    command = [
        "train",
        "--config-file",
        "CenterNet2_R18_small",
        "--data",
        str(data),
        "--output-dir",
        str(tmp_path),
    ]
    run = subprocess.run(
        [sys.executable, "-m", "centernet2", *command, "--device", "cpu", "--seed", "1", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    peaks = {line["iteration"]: line["peak_memory_mb"] for line in lines}
    assert peaks[2000] - peaks[500] < 0.02 * peaks[500], peaks
