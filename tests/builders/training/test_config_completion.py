from pathlib import Path

import pytest

from centernet2.builders.training.config_completion import (
    choose_output_folder,
    choose_seed,
    count_in_iterations,
    scale_to_batch,
)
from centernet2.config import load_config


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
