"""The plan of `centernet2 train DATA`: its choices, with reasons, and what users set themselves."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from centernet2 import distributed
from centernet2.builders.data.data_statistics import (
    DataStatistics,
    data_statistics,
    sided_classes,
)
from centernet2.builders.detector.initial_weights import PACKAGES
from centernet2.builders.detector.loading import config_of
from centernet2.builders.training import automatic_plan, step_probe
from centernet2.builders.training.automatic_plan import EFFORTS, TrainingPlan, plan_training
from centernet2.builders.training.train_command import TrainCommand, given_command
from centernet2.builders.training.training_data import find_training_data
from centernet2.checkpoint import Checkpoint, WeightsError, save_checkpoint
from centernet2.config import CLASS_KEYS, Config, ConfigError, load_config
from tests.helpers.jobs import build_untrained
from tests.helpers.training import write_blocks

BLOOD = DataStatistics(
    images=292, objects=3941, classes=3, short_side=480, aspect_ratio=1.33, small_object=33,
    most_objects=30,
)  # fmt: skip


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (automatic_plan, step_probe):
        monkeypatch.setattr(module, "measure_step", lambda *arguments: 0.5)


def plan(data: Path, *, effort: str = "normal", **given: Any) -> TrainCommand:
    command = given_command(Config(), given, data=data, data_path=None, weights=None, device="cpu")
    return plan_training(command, effort=effort, started=automatic_plan.time.monotonic())[0]


def lite(**given: Any) -> TrainingPlan:
    return TrainingPlan(load_config("CenterNet2_Lite_N"), given)


def test_plan_is_a_config_with_reasons(tmp_path: Path) -> None:
    command = plan(write_blocks(tmp_path))
    config = command.config
    assert command.config_name == config.name == "CenterNet2_Lite_N"
    assert config["SOLVER.MAX_MINUTES"] == 20
    assert config["SOLVER.IMS_PER_BATCH"] == 2  # of four images
    assert config["DATASETS.VAL_FRACTION"] == 0
    assert config["TEST.EVAL_PERIOD"] > 0
    starts = [reason.partition(":")[0] for reason in command.reasons]
    assert starts[:5] == ["data", "model", "time", "image size 256", "up to 100 detections"]
    assert command.reasons[0].startswith("data: 4 images with 4 objects of 1 class")


def test_options_of_the_user_stay_and_are_named(tmp_path: Path) -> None:
    given = {"SOLVER.IMS_PER_BATCH": 2, "SOLVER.MAX_MINUTES": 3.0}
    command = plan(write_blocks(tmp_path), **given)
    assert {key: command.config[key] for key in given} == given
    assert any(reason.startswith("batch of 2 images on cpu") for reason in command.reasons)
    assert "SOLVER.MAX_MINUTES: as given" in command.reasons
    rate = next(reason for reason in command.reasons if reason.startswith("learning rate"))
    assert rate.startswith("learning rate 0.00071: of ADAMW for batches of 2, and less in")


@pytest.mark.parametrize(("given", "sizes"), [
    ({"INPUT.MIN_SIZE_TEST": 512}, ((410, 461, 512, 563, 614), 614, 512, 512)),
    ({"INPUT.MIN_SIZE_TRAIN": (640,)}, ((640,), 640, 640, 640)),
    ({"INPUT.MIN_SIZE_TEST": 517}, ((414, 465, 517, 569, 620), 620, 517, 517)),
    ({"INPUT.MIN_SIZE_TRAIN": (64,), "INPUT.MIN_SIZE_TEST": 128}, ((64,), 64, 128, 128)),
])  # fmt: skip
def test_other_sizes_follow_a_given_one(
    tmp_path: Path, given: dict[str, Any], sizes: tuple[Any, ...]
) -> None:
    command = plan(write_blocks(tmp_path), **given)
    names = ("MIN_SIZE_TRAIN", "MAX_SIZE_TRAIN", "MIN_SIZE_TEST", "MAX_SIZE_TEST")
    assert tuple(command.config[f"INPUT.{name}"] for name in names) == sizes
    first, last = sizes[0][0], sizes[0][-1]
    (line,) = [reason for reason in command.reasons if reason.startswith("image size")]
    assert line.startswith(f"image size {sizes[2]}: as given; batches of one size, from {first} ")
    assert f"to {last} ({', '.join(given)} as given)" in line
    base = load_config(command.config_name)
    scale = sizes[2] / base["INPUT.MIN_SIZE_TEST"]
    assert command.config["MODEL.CENTERNET.SOI"][0][1] == round(
        base["MODEL.CENTERNET.SOI"][0][1] * scale
    )


def test_images_that_are_not_resized_stay_so(tmp_path: Path) -> None:
    command = plan(write_blocks(tmp_path), **{"INPUT.MIN_SIZE_TEST": 0})
    assert command.config["INPUT.MIN_SIZE_TEST"] == 0
    assert not any(reason.startswith("image size") for reason in command.reasons)


def test_one_line_says_why_images_are_smaller_than_objects_want(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(automatic_plan, "data_statistics", lambda dataset: BLOOD)
    command = plan(write_blocks(tmp_path), **{"SOLVER.MAX_MINUTES": 1.0})
    (line,) = [reason for reason in command.reasons if reason.startswith("image size")]
    assert line.startswith("image size 256: at 384, nine of ten objects have 26 pixels or more, ")
    assert "only time for" in line and line.endswith("from 205 to 307")
    assert command.reasons[3] == line
    assert command.config["INPUT.MIN_SIZE_TEST"] == 256


@pytest.mark.parametrize("given", [{}, {"INPUT.MIN_SIZE_TEST": 256}])
def test_time_that_is_over_is_refused_by_the_run(tmp_path: Path, given: dict[str, Any]) -> None:
    command = plan(write_blocks(tmp_path), **{"SOLVER.MAX_MINUTES": 1e-6}, **given)
    assert command.config["INPUT.MIN_SIZE_TEST"] == 256
    assert command.config["TEST.EVAL_PERIOD"] == 0


def test_without_a_limit_of_time_the_length_decides(tmp_path: Path) -> None:
    given = {"SOLVER.MAX_MINUTES": 0.0, "SOLVER.MAX_ITER": 100}
    command = plan(write_blocks(tmp_path), **given)
    assert {key: command.config[key] for key in given} == given
    assert "there is time for about 100 steps" in command.reasons[-1]
    assert sum(reason.startswith("image size 256: nine of") for reason in command.reasons) == 1


def test_warm_up_fits_given_epochs(tmp_path: Path) -> None:
    command = plan(write_blocks(tmp_path), **{"SOLVER.MAX_EPOCHS": 50.0})
    assert command.config["SOLVER.MAX_ITER"] == 100  # four images, two per step
    assert command.config["SOLVER.WARMUP_ITERS"] == 3
    assert "at most 100 iterations: 50 epochs" in "\n".join(command.reasons)


def test_undivided_data_are_divided(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    (data / "annotations" / "instances_val.json").unlink()
    command = plan(data)
    assert command.config["DATASETS.VAL_FRACTION"] == 0.2
    train_set, val_set = find_training_data(command.config, data, None)
    assert (len(train_set), len(val_set)) == (3, 1)
    assert any("20% of the images, drawn at random" in reason for reason in command.reasons)


def test_size_follows_small_objects_and_the_time() -> None:
    chosen = lite(**{"SOLVER.IMS_PER_BATCH": 4})
    automatic_plan._choose_size(chosen, BLOOD)
    assert chosen.config["INPUT.MIN_SIZE_TEST"] == 384
    assert chosen.config["INPUT.MAX_SIZE_TEST"] == 512
    assert chosen.config["MODEL.CENTERNET.SOI"][1] == (38, 115)  # those of 320 pixels times 1.2
    for steps, side in ((1000, 384), (260, 384), (240, 384), (180, 320), (130, 256), (1, 256)):
        shorter = TrainingPlan(chosen.config, {})
        factor = automatic_plan._shrink_images(shorter, BLOOD, steps=steps)
        assert shorter.config["INPUT.MIN_SIZE_TEST"] == side
        assert factor == pytest.approx((side / 384) ** 2)


def test_sizes_have_limits() -> None:
    for small, short, side in ((1, 1000, 640), (300, 480, 256), (5, 100, 256), (20, 480, 448)):
        chosen = lite()
        statistics = replace(BLOOD, small_object=small, short_side=short)
        automatic_plan._choose_size(chosen, statistics)
        assert chosen.config["INPUT.MIN_SIZE_TEST"] == side


def test_crowded_images_get_more_detections() -> None:
    chosen = lite()
    automatic_plan._choose_for_objects(chosen, replace(BLOOD, most_objects=400))
    assert chosen.config["TEST.DETECTIONS_PER_IMAGE"] == 600
    assert chosen.config["MODEL.CENTERNET.POST_NMS_TOPK_TEST"] == 600


def test_few_images_are_seen_often() -> None:
    for images, length in ((10, 2000), (292, 7300)):
        chosen = lite(**{"SOLVER.IMS_PER_BATCH": 4})
        automatic_plan._choose_length(chosen, replace(BLOOD, images=images), EFFORTS["normal"])
        assert chosen.config["SOLVER.MAX_ITER"] == length


@pytest.mark.parametrize(("name", "is_last"), [("Lite_N", True), ("R18_small", False)])
def test_maps_on_cpus_are_channels_last_unless_the_backbone_takes_batch_statistics(
    name: str, is_last: bool
) -> None:
    chosen = TrainingPlan(load_config(f"CenterNet2_{name}"), {})
    automatic_plan._choose_batch(chosen, BLOOD, torch.device("cpu"))
    assert chosen.config["SOLVER.CHANNELS_LAST"] is is_last
    assert chosen.config["SOLVER.KEEP_FREED_MEMORY"]
    assert chosen.reasons[-1].startswith("freed memory: kept for the next step")


def test_accelerators_get_mixed_precision() -> None:
    chosen = lite()
    automatic_plan._choose_batch(chosen, BLOOD, torch.device("meta"))
    assert chosen.config["SOLVER.IMS_PER_BATCH"] == 32
    assert chosen.config["SOLVER.AMP.ENABLED"] and not chosen.config["SOLVER.KEEP_FREED_MEMORY"]


def test_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried = []

    def measure(config: Config, *arguments: object, alone: bool) -> float:
        assert alone and not config.criterion.average_over_processes
        tried.append(config.run.ims_per_batch)
        if config.run.ims_per_batch > 20:
            raise torch.OutOfMemoryError
        return 1.0

    def gather(fits: bool) -> list[bool]:
        return [fits, tried[-1] <= 10]  # another process has less memory

    config = load_config("CenterNet2_Lite_N", {"SOLVER.IMS_PER_BATCH": 32})
    dataset, _ = find_training_data(config, write_blocks(tmp_path), None)
    monkeypatch.setattr(step_probe, "_measure_own_step", measure)
    monkeypatch.setattr(distributed, "gather_objects", gather)
    assert step_probe.largest_batch(config, dataset, torch.device("meta")) == 8
    assert tried == [32, 16, 8]


@pytest.mark.parametrize(("free", "batch"), [(1000, 4), (250, 2), (10, 1)])
def test_batch_on_a_cpu_fits_into_its_free_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, batch: int
) -> None:
    resident = iter([500, 700])  # a step of two images takes 200
    monkeypatch.setattr(step_probe, "_resident", lambda: next(resident))
    monkeypatch.setattr(
        step_probe.psutil, "virtual_memory", lambda: SimpleNamespace(available=free)
    )
    config = load_config("CenterNet2_Lite_N", {"SOLVER.IMS_PER_BATCH": 4})
    dataset, _ = find_training_data(config, write_blocks(tmp_path), None)
    assert step_probe.largest_batch(config, dataset, torch.device("cpu")) == batch


def test_without_weights_a_plan_trains_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(name: str) -> None:
        raise WeightsError("offline")

    monkeypatch.setattr(automatic_plan, "packaged_file", lambda name: None)
    monkeypatch.setattr(automatic_plan, "read_timm_weights", offline)
    command = plan(write_blocks(tmp_path))
    assert command.config_name == "CenterNet2_R18_small"
    assert "pip install 'centernet2[pretrained]'" in caplog.text
    assert command.config["SOLVER.OPTIMIZER"] == "SGD"
    assert command.config["SOLVER.BASE_LR"] == 0.04 / 4  # for two images


def test_the_largest_model_whose_weights_are_installed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for installed, name in ((list(PACKAGES)[:2], "S"), (list(PACKAGES), "M")):
        monkeypatch.setattr(
            automatic_plan, "packaged_file", lambda name, known=installed: name in known or None
        )
        command = plan(write_blocks(tmp_path / name), effort="best")
        assert command.config_name == f"CenterNet2_Lite_{name}"


@pytest.mark.parametrize("given", ["weights", "MODEL.WEIGHTS"])
def test_weights_bring_their_network_and_no_options_of_a_run(given: str, tmp_path: Path) -> None:
    model = build_untrained("SOLVER.MAX_ITER", "7", "DATASETS.CLASS_MAP", "('a=b',)", classes=5)
    info = replace(model.info, class_names=tuple("abcde"))
    save_checkpoint(tmp_path / "old.pth", Checkpoint(model.state_dict(), info, 7, {}))
    values = {given: str(tmp_path / "old.pth")}
    command = given_command(
        Config(), {} if given == "weights" else values, data=write_blocks(tmp_path), data_path=None,
        weights=values.get("weights"), device="cpu",
    )  # fmt: skip
    config = plan_training(command, effort="quick", started=0.0)[0].config
    network = config_of(info)
    assert config.name == network.name == "CenterNet2_R18_small"
    for key in ("MODEL.RESNETS.DEPTH", "MODEL.PIXEL_STD", "INPUT.MIN_SIZE_TEST"):
        assert config[key] == network[key]
    assert config["SOLVER.OPTIMIZER"] == "ADAMW" and config["SOLVER.MAX_ITER"] > 7
    assert config["DATASETS.CLASS_MAP"] == ()
    assert {config[key] for key in CLASS_KEYS} == {1}  # of the data, not of the weights


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "w.pth")
    command = given_command(
        Config(), {}, data=write_blocks(tmp_path), data_path=None, weights=tmp_path / "w.pth",
        device="cpu",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"w.pth has no config of its own"):
        plan_training(command, effort="normal", started=0.0)


def test_statistics_weigh_classes_equally(tmp_path: Path) -> None:
    dataset, _ = find_training_data(load_config("CenterNet2_Lite_N"), write_blocks(tmp_path), None)
    many = replace(
        dataset,
        xywh=np.array([[0, 0, 50, 50]] * 95 + [[0, 0, 8, 2]] * 5, float),
        labels=np.array([0] * 95 + [1] * 5, np.int32),
        crowd=np.zeros(100, bool),
        offsets=np.array([0, 10, 20, 90, 100]),
    )
    statistics = data_statistics(many)
    assert statistics.small_object == 4
    assert statistics.most_objects == 70
    assert statistics.short_side == 64 and statistics.aspect_ratio == 1


@pytest.mark.parametrize(("names", "flip"), [
    (("arrow_left", "arrow_up"), "none"),
    (("turnRight", "turn"), "none"),
    (tuple("01234"), "none"),
    (("左转", "右转"), "none"),
    (("1", "2", "copyright"), "horizontal"),  # numbers of anything
])  # fmt: skip
def test_images_that_mean_something_else_mirrored_are_not_flipped(
    names: tuple[str, ...], flip: str, tmp_path: Path
) -> None:
    command = plan(write_blocks(tmp_path / "data", *names))
    assert command.config["INPUT.RANDOM_FLIP"] == flip
    assert (f"no flips: a mirrored image would show {names[0]}" in str(command.reasons)) == (
        flip == "none"
    )
    given = {"INPUT.RANDOM_FLIP": "vertical"}
    assert plan(tmp_path / "data", **given).config["INPUT.RANDOM_FLIP"] == "vertical"


@pytest.mark.parametrize(("names", "sided"), [
    (("左转", "右转", "直行"), ("左转", "右转")),
    (("Pfeil links", "Pfeil rechts"), ("Pfeil links", "Pfeil rechts")),
    (("rechter Schuh", "Hut", "linker Schuh"), ("rechter Schuh", "linker Schuh")),
    (("main gauche", "main droite"), ("main gauche", "main droite")),
    (("pied droit", "pied gauche"), ("pied droit", "pied gauche")),
    (("FLECHA_IZQUIERDA", "flecha_derecha"), ("FLECHA_IZQUIERDA", "flecha_derecha")),
    (("лев", "links", "leftover", "all rights"), ()),  # the first one is a lion
    (("左轮手枪", "座右铭"), ()),  # a revolver and a motto
])  # fmt: skip
def test_sides_of_other_languages_are_known_by_their_opposites(
    names: tuple[str, ...], sided: tuple[str, ...]
) -> None:
    assert sided_classes(names) == sided
