import re
from pathlib import Path

import pytest

from centernet2.builders.data.data_pipeline import build_sampler
from centernet2.builders.training.plan import (
    choose_output_folder,
    choose_seed,
    count_in_iterations,
    find_training_data,
    scale_to_batch,
)
from centernet2.config import Config, load_config
from tests.helpers.data import make_content, renumber, write_dataset
from tests.helpers.training import write_blocks


@pytest.mark.parametrize(("option", "folder"), [
    ("./runs/auto", "runs/CenterNet2_R50_1x"),
    ("auto/", "CenterNet2_R50_1x"),
    ("runs/autonomous", "runs/autonomous"),
    ("runs/auto/first", "runs/auto/first"),
])  # fmt: skip
def test_output_folder_named_after_config(option: str, folder: str) -> None:
    config = load_config("CenterNet2_R50_1x", ["OUTPUT_DIR", option])
    assert choose_output_folder(config, None) == Path(folder)
    assert choose_output_folder(config, "given/auto") == Path("given/auto")


def test_unusable_output_folder_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "run")
    config = load_config("CenterNet2_R50_1x", ["OUTPUT_DIR", folder])
    for given, option in ((None, "OUTPUT_DIR"), (folder, "--output-dir")):
        with pytest.raises(ValueError, match=f"^{option} .*run cannot be used: .* not a folder"):
            choose_output_folder(config, given)


def test_seed_is_part_of_the_config() -> None:
    config = load_config("CenterNet2_R50_1x")
    assert config.run.seed < 0 <= choose_seed(config)["SEED"]
    stated = config.replace({"SEED": 5})
    assert choose_seed(stated) is stated


def test_rate_and_length_scale_with_batch() -> None:
    made_for = load_config("CenterNet2_R50_1x")
    config, changes = scale_to_batch(made_for.override(["SOLVER.IMS_PER_BATCH", "4"]), made_for)
    assert config.optimizer.base_lr == pytest.approx(made_for.optimizer.base_lr / 4)
    assert config.schedule.max_iter == 4 * made_for.schedule.max_iter
    assert config.schedule.steps == tuple(4 * step for step in made_for.schedule.steps)
    assert config.schedule.warmup_iters == 4 * made_for.schedule.warmup_iters
    assert config.run.eval_period == made_for.run.eval_period * 4
    assert changes[0] == "16 -> 4 images per iteration"
    assert f"SOLVER.MAX_ITER {made_for.schedule.max_iter} -> {config.schedule.max_iter}" in changes


def test_stated_options_are_not_scaled() -> None:
    made_for = load_config("CenterNet2_R50_1x")
    config = made_for.override(
        ["SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.7", "SOLVER.OPTIMIZER", "ADAMW"]
    )
    assert scale_to_batch(config, made_for)[0].optimizer.base_lr == 0.7
    same, changes = scale_to_batch(made_for, made_for)
    assert same == made_for
    assert changes == ["16 -> 16 images per iteration"]


def test_resumed_run_scales_from_the_config_file() -> None:
    made_for = load_config("CenterNet2_R50_1x")
    first = made_for.override(["SOLVER.IMS_PER_BATCH", "8", "SOLVER.MAX_ITER", "77"])
    before, _ = scale_to_batch(first, made_for)
    resumed = before.override(["SOLVER.IMS_PER_BATCH", "4"])
    config, _ = scale_to_batch(resumed, made_for, before=before)
    assert config.optimizer.base_lr == made_for.optimizer.base_lr / 4
    assert config.schedule.max_iter == 77  # as given


def test_adamw_scales_with_square_root() -> None:
    made_for = load_config("CenterNet2_R50_1x", ["SOLVER.OPTIMIZER", "ADAMW"])
    config, _ = scale_to_batch(made_for.override(["SOLVER.IMS_PER_BATCH", "4"]), made_for)
    assert config.optimizer.base_lr == pytest.approx(made_for.optimizer.base_lr / 2)


def test_epochs_become_iterations() -> None:
    options = ["SOLVER.IMS_PER_BATCH", "10", "SOLVER.MAX_EPOCHS", "12", "TEST.EVAL_EPOCHS", "0.5",
               "SOLVER.MAX_ITER", "900", "SOLVER.STEPS", "(600, 800)"]  # fmt: skip
    config = count_in_iterations(load_config("CenterNet2_R50_1x", options), 1005)
    assert (config.schedule.max_iter, config.schedule.steps) == (1206, (804, 1072))
    assert config.run.eval_period == 50
    assert count_in_iterations(config, 1005) == config
    plain = load_config("CenterNet2_R50_1x")
    assert count_in_iterations(plain, 1005) == plain


@pytest.mark.parametrize(("ids", "difference"), [
    ({"zebra": 1, "ant": 2}, ""),
    ({"zebra": 1}, "_val lacks 1 class of .*_train: ant; their detections are left out"),
    ({"zebra": 1, "ant": 2, "bee": 3}, "_train lacks 1 class of .*_val: bee; .*as missed"),
])  # fmt: skip
def test_validation_data_keep_their_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ids: dict[str, int], difference: str
) -> None:
    write_dataset(tmp_path, make_content(), "train")
    write_dataset(tmp_path, renumber(make_content(), ids), "val")
    _, val_set = find_training_data(Config(), tmp_path, None)
    assert val_set.class_names == tuple(ids) and val_set.category_ids == tuple(ids.values())
    warnings = [message for message in caplog.messages if " lacks " in message]
    assert len(warnings) == bool(difference)
    assert not difference or re.search(difference, warnings[0])


def test_validation_data_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, make_content(), "train")
    content = make_content()
    content["categories"] = [{**c, "name": f"old {c['name']}"} for c in content["categories"]]
    write_dataset(tmp_path, content, "val")
    with pytest.raises(ValueError, match=r"\(old ant, old zebra\), .*\(ant, zebra\), but no name"):
        find_training_data(Config(), tmp_path, None)


def test_crowds_and_classes_without_objects_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as the masks of CVAT, and the group of classes in exports of Roboflow."""
    content = make_content()
    content["categories"].append({"id": 0, "name": "animals"})
    for split in ("train", "val"):
        write_dataset(tmp_path, content, split)
    find_training_data(Config(), tmp_path, None)
    assert "2 of 4 objects are crowds (iscrowd 1, or difficult in Pascal VOC)" in caplog.text
    assert "has no object of 1 class (animals); the detector cannot learn it" in caplog.text


def test_what_is_kept_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = make_content()
    content["images"].append({**content["images"][2], "id": 40})
    content["annotations"].append({**content["annotations"][0], "id": 9})
    for split in ("train", "val"):
        write_dataset(tmp_path, content, split)
    find_training_data(Config(), tmp_path, None)
    assert "images listed twice: 1 kept; training uses" in caplog.text
    assert "first: image 40: empty.png" in caplog.text
    assert "duplicate boxes: 1 kept; each counts as an object of its own" in caplog.text


def test_images_of_both_splits_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = make_content()
    write_dataset(tmp_path, content)
    content["images"][1]["file_name"] = "other.png"
    write_dataset(tmp_path, content, "val")
    find_training_data(Config(), tmp_path, None)
    assert "2 of 3 validation images are training images, too" in caplog.text


@pytest.mark.parametrize("named", [False, True])
def test_validation_data_without_an_object_are_refused(tmp_path: Path, named: bool) -> None:
    content = make_content()
    train = write_dataset(tmp_path, content, "train")
    content["annotations"] = [each for each in content["annotations"] if each["iscrowd"]]
    val = write_dataset(tmp_path, content, "val")
    config, data = Config(), None if named else tmp_path
    if named:
        sets = {"TRAIN": train, "TEST": val}
        images = tmp_path / "images"
        config = config.replace({f"DATASETS.{k}": (f"{v}@{images}",) for k, v in sets.items()})
    with pytest.raises(ValueError, match=r"instances_val\.json: no image has an object, .* no AP"):
        find_training_data(config, data, None)
    find_training_data(config.replace({"TEST.EVAL_PERIOD": -1}), data, None)


@pytest.mark.parametrize("order", [("full", "empty"), ("empty", "full")])
def test_ratio_of_data_without_objects_is_refused(order: tuple[str, str], tmp_path: Path) -> None:
    """None of its images could be drawn; such as of pseudo-labels at too high a score."""
    content, images = make_content(), tmp_path / "images"
    files = {"full": write_dataset(tmp_path, content, "full")}
    files["empty"] = write_dataset(tmp_path, {**content, "annotations": []}, "empty")
    names = tuple(f"{files[each]}@{images}" for each in order)
    config = Config().replace({"DATASETS.TRAIN": names, "DATASETS.TEST": (names[0],)})
    config = config.replace({"TEST.EVAL_PERIOD": -1})
    train_set, _ = find_training_data(config, None, None)
    with pytest.raises(ValueError, match=r"instances_empty has no image .* leave this data set"):
        build_sampler(config.replace({"DATALOADER.DATASET_RATIO": (1, 1)}), train_set, 0)
    with pytest.raises(ValueError, match=r"DATASET_RATIO is .*; give a number for each of the 2"):
        build_sampler(config.replace({"DATALOADER.DATASET_RATIO": (1,)}), train_set, 0)


def test_classes_that_differ_in_case_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sets = (write_blocks(tmp_path / "first", "block"), write_blocks(tmp_path / "second", "Block"))
    names = tuple(map(str, sets))
    joined = {"DATASETS.TRAIN": names, "DATASETS.TEST": names, "DATASETS.PARTIAL_LABELS": True}
    find_training_data(Config().replace(joined), None, None)
    assert "the classes block and Block of" in caplog.text
    assert "--class-map Block=block makes them one" in caplog.text
