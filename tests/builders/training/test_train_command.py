"""What a command gives, and what it takes over from the run that it resumes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from centernet2.builders.training.train_command import TrainCommand, given_command, previous_command
from centernet2.config import Config, ConfigError, load_config, parse_pairs
from centernet2.data import DetectionDataset
from tests.helpers.jobs import save_untrained

SMALL = "CenterNet2_R18_small"


def command(*pairs: str, config: Config | None = None, **paths: Any) -> TrainCommand:
    """Return the command with these overrides and paths."""
    file = load_config(SMALL) if config is None else config
    given = {"data": None, "data_path": None, "weights": None, "device": None} | paths
    return given_command(file, parse_pairs(pairs), **given)


def test_overrides_stay_unless_others_are_given() -> None:
    first = command("SOLVER.BASE_LR", "0.5", "SOLVER.AMP.ENABLED", "True", "SEED", "3")
    second = command("SOLVER.BASE_LR", "0.25").after(first)
    assert second.config.optimizer.base_lr == 0.25
    assert second.config.run.amp
    assert second.config.run.seed == 3
    file_value = str(load_config(SMALL).optimizer.base_lr)  # given, though it is that of the file
    third = command("SOLVER.BASE_LR", file_value).after(second)
    assert str(third.config.optimizer.base_lr) == file_value
    assert third.config.changed_from(second.config) == ["SOLVER.BASE_LR"]


def test_config_file_counts_where_it_has_changed() -> None:
    file = load_config(SMALL)
    first = command("SOLVER.BASE_LR", "0.5", "SOLVER.MOMENTUM", "0.5")
    edited = file.replace({"SOLVER.BASE_LR": 0.125, "SOLVER.GAMMA": 0.5})
    second = command(config=edited).after(first).config
    assert second.optimizer.base_lr == 0.125
    assert second.schedule.gamma == 0.5
    assert second.optimizer.momentum == 0.5  # the file says about it what it said


def test_command_is_read_back_equal(tmp_path: Path) -> None:
    first = command(
        "SOLVER.BASE_LR", "1e-05", "SOLVER.STEPS", "(3, 4)", "MODEL.CENTERNET.SOI",
        "[[0, 8], [4, 16], [8, 32], [16, 64], [32, 1000]]", "MODEL.WEIGHTS", "on",
        data=tmp_path, device="cpu",
    )  # fmt: skip
    first.write(tmp_path)
    again = previous_command(tmp_path)
    assert again is not None
    assert again.config == first.config
    assert not again.changes_from(first)
    assert again.data == str(tmp_path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "config_name: x", "a: [", "\x00"])
def test_damaged_command_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "command.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"command\.yaml cannot be read .* repeat --data"):
        previous_command(tmp_path)


def test_checkpoint_stands_in_for_a_missing_command(tmp_path: Path) -> None:
    assert previous_command(tmp_path) is None
    save_untrained(tmp_path / "model_0000002.pth", ("cat", "dog"))
    previous = previous_command(tmp_path)
    assert previous is not None
    assert "MODEL.ROI_HEADS.NUM_CLASSES" not in previous.config.stated
    weights = command(weights="any.pth", config=previous.file_config)
    assert weights.after(previous).config == previous.config


def test_paths_stay_if_no_others_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other", "sets"):
        (tmp_path / name).mkdir()
    first = command(data="mine", device="cpu")
    assert command().after(first).data == str(tmp_path / "mine")  # from any working directory
    assert command().after(first).device == "cpu"
    other = command(data="other", device="cuda").after(first)
    assert other.changes_from(first) == [
        f"--data {tmp_path}/mine -> {tmp_path}/other", "--device cpu -> cuda",
    ]  # fmt: skip
    named = command(data="coco_2017", data_path="sets")
    assert command(data="coco_2017").after(named).data_path == str(tmp_path / "sets")
    assert command(data="mine").after(named).data_path is None


def test_named_data_sets_replace_data() -> None:
    first = command(data="mine")
    sets = ("DATASETS.TRAIN", "('a.json@a',)"), ("DATASETS.TEST", "('b.json@b',)")
    assert command(*sets[0], *sets[1]).after(first).data is None
    with pytest.raises(ConfigError, match=r"DATASETS.TEST has no effect.* --data mine"):
        command(*sets[1]).after(first)
    with pytest.raises(ConfigError, match=r"DATASETS.TRAIN has no effect beside .*set other"):
        command(*sets[0], data="other")


def test_what_would_have_no_effect_is_refused() -> None:
    first = command("SOLVER.MAX_EPOCHS", "3.0", weights="a.pth")
    with pytest.raises(ConfigError, match=r"SOLVER.MAX_ITER 9 has no effect.*SOLVER.MAX_EPOCHS 3"):
        command("SOLVER.MAX_ITER", "9").after(first)
    assert command("SOLVER.MAX_ITER", "9", "SOLVER.MAX_EPOCHS", "0.0").after(first)
    with pytest.raises(ConfigError, match=r"--weights b\.pth has no effect.* from a\.pth"):
        command(weights="b.pth").after(first)
    assert command(weights="a.pth").after(first).weights == "a.pth"


def held_out(*names: str, divided: bool = True) -> DetectionDataset:
    """Return a validation split with these files."""
    files = np.array(names, dtype=np.bytes_)
    return cast(DetectionDataset, SimpleNamespace(files=files, divided=divided))


def test_images_for_validation_stay() -> None:
    small = command("DATASETS.VAL_FRACTION", "0.5")
    recorded = small.with_val_images(held_out("1.png"), resumed=False)
    assert recorded.with_val_images(held_out("1.png"), resumed=True) == recorded
    other = recorded.with_val_images(held_out("2.png"), resumed=False)
    assert other.val_images != recorded.val_images
    with pytest.raises(ConfigError, match=r"DATASETS.VAL_FRACTION 0\.5 sets other ones apart"):
        recorded.with_val_images(held_out("2.png"), resumed=True)


def test_validation_split_of_the_data_may_change() -> None:
    """DATASETS.VAL_FRACTION has no effect on data with such a split."""
    small = command("DATASETS.VAL_FRACTION", "0.5")
    recorded = small.with_val_images(held_out("1.png", divided=False), resumed=False)
    grown = held_out("1.png", "2.png", divided=False)
    assert recorded.with_val_images(grown, resumed=True) == recorded


def test_data_with_absolute_paths_may_move() -> None:
    here, there = held_out("/a/x/1.png", "/a/y/2.png"), held_out("/b/x/1.png", "/b/y/2.png")
    recorded = command("DATASETS.VAL_FRACTION", "0.5").with_val_images(here, resumed=False)
    assert recorded.with_val_images(there, resumed=True) == recorded


def test_initial_weights_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.pth").touch()
    monkeypatch.chdir(tmp_path)
    first = command(weights="mine/a.pth")
    monkeypatch.chdir(tmp_path / "other")
    assert command(weights="../mine/a.pth").after(first)
    with pytest.raises(ConfigError, match=r"--weights .*other/a\.pth has no effect"):
        command(weights="a.pth").after(first)
    (tmp_path / "mine" / "a.pth").unlink()
    assert command(weights="../mine/a.pth").after(first)
    assert command(weights="mine/a.pth").after(first)  # it is not in this folder either
