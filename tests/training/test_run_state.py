import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from centernet2 import distributed
from centernet2.checkpoint import load_checkpoint, save_checkpoint
from centernet2.devices import Precision
from centernet2.structures import ModelInfo, ScoreCalibration
from centernet2.training.ema import AveragedWeights
from centernet2.training.run_state import RunState, restore_training_state, training_state
from tests.helpers.toy import Run, ToyDetector, spoil_step, stream


def new_run(precision: Precision) -> tuple[Run, torch.Generator]:
    generator = torch.Generator().manual_seed(7)
    return Run(ToyDetector(generator), precision=precision), generator


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("cut", [1, 4])
def test_resume_is_bit_exact(tmp_path: Path, precision: Precision, cut: int) -> None:
    """With momentum, schedule, scaler (a skip halves its scale) and a random stream."""
    make = partial(spoil_step, {0, 2})
    whole, _ = new_run(precision)
    whole.train(stream(make=make), 0, 8)

    first, generator = new_run(precision)
    first.train(stream(make=make), 0, cut)
    training = training_state(cut, first.parts, [generator])
    saved = {"model": first.model.state_dict(), "training": training}
    torch.save(saved, tmp_path / "checkpoint.pth")

    torch.manual_seed(99)  # the random state of a new process
    second, generator = new_run(precision)
    loaded = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    second.model.load_state_dict(loaded["model"])
    restore_training_state(loaded["training"], second.parts, [generator])
    assert second.scheduler.last_epoch == cut
    second.train(stream(cut, make), cut, 8)

    for mine, theirs in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert whole.scaler.state_dict() == second.scaler.state_dict()
    assert whole.scheduler.get_last_lr() == second.scheduler.get_last_lr()


def test_loss_scale_of_another_precision_is_not_taken_over() -> None:
    """That of float32 is 1, with which small float16 gradients would vanish."""
    parts = {p: {"scaler": new_run(p)[0].scaler} for p in ("fp32", "fp16", "bf16")}
    for before in parts.values():
        for now in parts.values():
            scale = now["scaler"].get_scale()
            restore_training_state(training_state(1, before, []), now, [])
            assert now["scaler"].get_scale() == scale


def test_random_numbers_start_anew_without_generators() -> None:
    generator = torch.Generator().manual_seed(7)
    state = training_state(1, {}, [generator])
    generator.manual_seed(8)
    restore_training_state(state, {}, None)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(8).get_state())


def test_global_random_stream_continues() -> None:
    state = training_state(1, {}, [])
    expected = torch.rand(3)
    restore_training_state(state, {}, [])
    assert torch.equal(torch.rand(3), expected)


def state_of(
    model: torch.nn.Module, output: Path, average: AveragedWeights | None = None
) -> RunState:
    optimizer = torch.optim.SGD(model.parameters())
    return RunState(
        model, ModelInfo(class_names=("cat",)), optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.ConstantLR(optimizer),
        scaler=torch.amp.GradScaler(enabled=False), generator=torch.Generator(), average=average,
        patience=0, output=output,
    )  # fmt: skip


def test_batch_statistics_of_the_main_process_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of its checkpoints; each process has its own."""
    model = torch.nn.BatchNorm2d(1)
    state = state_of(model, tmp_path, AveragedWeights(model, decay=0.5, warmup_iters=0))
    seen: dict[str, float] = {}

    def copy(tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor.fill_(7)

    def evaluate_into(folder: Path) -> dict[str, float]:
        seen[folder.name] = cast(Tensor, model.running_mean).item()
        return {}

    monkeypatch.setattr(distributed, "copy_from_main_process", copy)
    state.evaluate(evaluate_into)
    assert seen == {"eval": 7, "eval_ema": 7}


def test_final_checkpoint_of_the_same_weights_keeps_its_metrics(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    state = state_of(model, tmp_path)
    path = tmp_path / "model_final.pth"
    state.save_final({"bbox/AP": 1.0})
    state.save_final({}, keep_equal=True)
    assert load_checkpoint(path).metrics == {"bbox/AP": 1.0}
    torch.nn.init.zeros_(model.weight)  # of another run in this folder
    state.save_final({}, keep_equal=True)
    assert load_checkpoint(path).metrics == {}
    path.write_bytes(b"damaged")
    state.save_final({}, keep_equal=True)
    assert load_checkpoint(path).metrics == {}


def test_evaluation_of_the_same_weights_keeps_their_thresholds(tmp_path: Path) -> None:
    """As `centernet2 threshold` and then `train --resume` of a finished run."""
    model = torch.nn.Linear(1, 1)
    state = state_of(model, tmp_path)
    state.save_final({})
    path = tmp_path / "model_final.pth"
    saved = load_checkpoint(path)
    chosen = replace(
        saved.info, score_thresholds=(0.4,), calibration=ScoreCalibration((2.0,), (0.5,))
    )
    save_checkpoint(path, replace(saved, info=chosen))
    state.save_final({"bbox/AP": 1.0})
    assert (load_checkpoint(path).info, load_checkpoint(path).metrics) == (chosen, {"bbox/AP": 1.0})
    torch.nn.init.zeros_(model.weight)  # they are of other weights
    state.save_final({})
    assert load_checkpoint(path).info == state.info


@pytest.mark.parametrize("missing", ["best", "optimizer", "scaler", "scheduler"])
def test_missing_part_is_named(tmp_path: Path, missing: str) -> None:
    state = state_of(torch.nn.Linear(1, 1), tmp_path)
    parts = {name: part for name, part in state.parts.items() if name != missing}
    with pytest.raises(ValueError, match=f"no state of {missing}: it cannot be resumed"):
        state.restore(training_state(1, parts, []))


def test_other_number_of_processes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    state: dict[str, Any] = training_state(5, {}, [])
    state["random"] *= 2
    with caplog.at_level(logging.WARNING):
        restore_training_state(state, {}, [])
    assert "written by 2 processes and is resumed by 1" in caplog.text


def test_random_numbers_of_another_kind_of_device_start_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state: dict[str, Any] = training_state(5, {}, [torch.Generator()])
    state["random"][0]["generators"] = [torch.zeros(16, dtype=torch.uint8)]  # as of CUDA
    generator = torch.Generator().manual_seed(8)
    with caplog.at_level(logging.WARNING):
        restore_training_state(state, {}, [generator])
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(8).get_state())
    assert "another kind of device than cpu" in caplog.text
