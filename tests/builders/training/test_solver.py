"""Number format, schedule and average of a training run."""

import pytest
import torch

from centernet2.builders.detector.network import build_detector
from centernet2.builders.training import solver
from centernet2.builders.training.solver import build_multiplier, build_optimizer, choose_precision
from centernet2.config import ConfigError, load_config

CPU = torch.device("cpu")


@pytest.mark.parametrize("fast", [True, False])
def test_slow_bf16_is_logged(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(solver, "is_bf16_fast", lambda device: fast)
    assert choose_precision(CPU, amp=True, dtype="bf16") == "bf16"
    assert ("emulates bf16, which is slow: set SOLVER.AMP.ENABLED False" in caplog.text) is not fast


def test_mixed_precision_on_the_cpu_is_bf16(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_precision(CPU, amp=False, dtype="fp16") == "fp32"
    assert choose_precision(CPU, amp=True, dtype="bf16") == "bf16"
    assert choose_precision(CPU, amp=True, dtype="fp16") == "bf16"
    assert "not SOLVER.AMP.DTYPE fp16" in caplog.text
    with pytest.raises(ValueError, match=r"SOLVER.AMP.DTYPE is 'half'; choose one of bf16, fp16"):
        choose_precision(CPU, amp=True, dtype="half")


@pytest.mark.parametrize(("key", "message"), [
    ("SOLVER.WARMUP_METHOD", r"SOLVER.WARMUP_METHOD is 'x'; choose one of linear, constant"),
    ("SOLVER.LR_SCHEDULER_NAME", r"name is 'x'; .*WarmupCosineLR.* \(SOLVER.LR_SCHEDULER_NAME\)"),
])  # fmt: skip
def test_unknown_schedules_are_named_with_their_key(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_multiplier(load_config("CenterNet2_R18_small", [key, "x"]))


def test_nesterov_without_momentum_is_refused() -> None:
    options = ["SOLVER.NESTEROV", "True", "SOLVER.MOMENTUM", "0.0"]
    config = load_config("CenterNet2_R18_small", options)
    with pytest.raises(ConfigError, match=r"SOLVER.NESTEROV needs SOLVER.MOMENTUM above 0"):
        build_optimizer(config, build_detector(config))


@pytest.mark.parametrize(("options", "message"), [
    (
        ["SOLVER.RESCALE_INTERVAL", "True", "SOLVER.MAX_ITER", "500"],
        r"SOLVER.MAX_ITER, SOLVER.WARMUP_ITERS, SOLVER.RESCALE_INTERVAL",
    ),
    (["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.BASE_LR", "0.0"], "SOLVER.BASE_LR"),
])  # fmt: skip
def test_schedules_that_divide_by_zero_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_multiplier(load_config("CenterNet2_R50_1x", options))
