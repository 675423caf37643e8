from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from centernet2.training.optim import sgd
from centernet2.training.schedule import (
    Multiplier,
    Schedule,
    ScheduleOptions,
    learning_rate_multiplier,
)

RECIPE_1X = ScheduleOptions(
    max_iter=90000, steps=(60000, 80000), warmup_factor=0.00025, warmup_iters=4000
)


def multiplier(name: str, *, base_lr: float = 0.02, **changes: Any) -> Multiplier:
    options = replace(RECIPE_1X, name=name, **changes)
    return learning_rate_multiplier(options, base_lr=base_lr)


@pytest.mark.parametrize(("iteration", "lr"), [
    (0, 5e-06), (1, 9.99875e-06), (500, 0.0025043749999999997), (4000, 0.02), (59999, 0.02),
    (60000, 0.002),
])  # fmt: skip
def test_multi_step(iteration: int, lr: float) -> None:
    assert 0.02 * multiplier("WarmupMultiStepLR")(iteration) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize(("iteration", "lr"), [
    (0, 8e-05), (1, 0.00015989563308076382), (999, 0.07989573744768308),
    (1000, 0.07997563308076383), (30000, 0.06),
])  # fmt: skip
def test_cosine(iteration: int, lr: float) -> None:
    schedule = multiplier("WarmupCosineLR", base_lr=0.08, warmup_factor=0.001, warmup_iters=1000)
    assert 0.08 * schedule(iteration) == pytest.approx(lr, rel=1e-9)


def test_cosine_ends_at_the_end_rate() -> None:
    assert multiplier("WarmupCosineLR", base_lr_end=0.002)(90000) == pytest.approx(0.1)


def test_step_with_fixed_gamma() -> None:
    schedule = multiplier("WarmupStepWithFixedGammaLR", max_iter=100, warmup_iters=10)
    assert [schedule(i) for i in (10, 24, 25, 50, 75, 100)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.001, 0.001]
    )


def test_constant_warm_up() -> None:
    schedule = multiplier("WarmupMultiStepLR", warmup_method="constant")
    assert (schedule(0), schedule(3999), schedule(4000)) == (0.00025, 0.00025, 1.0)


def test_rescaled_interval_starts_after_warm_up() -> None:
    schedule = multiplier(
        "WarmupCosineLR", max_iter=100, warmup_iters=20, warmup_factor=0.5, rescale_interval=True
    )
    assert [schedule(i) for i in (0, 10, 20, 60, 100)] == pytest.approx([0.5, 0.75, 1, 0.5, 0])


def test_unknown_schedule_is_named() -> None:
    with pytest.raises(ValueError, match="name is 'WarmupPolyLR'; choose one of WarmupMultiStepLR"):
        multiplier("WarmupPolyLR")


def test_scheduler_keeps_ratios_of_groups() -> None:
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = sgd(
        [{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.2}],
        lr=0.1,
        momentum=0,
        nesterov=False,
    )
    schedule = Schedule(optimizer, lambda iteration: 0.5**iteration)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]


def test_restored_schedule_keeps_its_own_rates() -> None:
    """The state is the iteration alone: another schedule applies as if from the start."""
    schedules = []
    for lr, factor in ((0.1, 0.5), (0.4, 0.25)):
        groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr}]
        optimizer = sgd(groups, lr=lr, momentum=0, nesterov=False)
        schedules.append(Schedule(optimizer, lambda i, factor=factor: factor**i))
    first, second = schedules
    first.optimizer.step()
    first.step()
    second.load_state_dict(first.state_dict())
    assert second.optimizer.param_groups[0]["lr"] == second.get_last_lr()[0] == 0.1
    second.optimizer.step()
    second.step()
    assert second.optimizer.param_groups[0]["lr"] == 0.4 * 0.25**2


@pytest.mark.parametrize("warmup_iters", [500, 4000])
def test_rescaled_interval_needs_a_shorter_warm_up(warmup_iters: int) -> None:
    lengths: dict[str, Any] = {"max_iter": 500, "warmup_iters": warmup_iters}
    with pytest.raises(ValueError, match=f"they are {warmup_iters} and 500; shorten the warm-up"):
        multiplier("WarmupMultiStepLR", rescale_interval=True, **lengths)
    assert multiplier("WarmupMultiStepLR", **lengths)(500) == 1.0


def test_base_rate_of_zero() -> None:
    assert multiplier("WarmupMultiStepLR", base_lr=0.0)(5000) == 1.0
    with pytest.raises(ValueError, match="base_lr is 0, and a cosine only scales it"):
        multiplier("WarmupCosineLR", base_lr=0.0, base_lr_end=0.1)
