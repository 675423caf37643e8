from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from centernet2.models.backbones.stages import backbone_stages
from centernet2.training.optim import (
    Multiplier,
    ScheduleOptions,
    adamw,
    clip_gradients,
    learning_rate_multiplier,
    parameter_groups,
    scheduler,
    sgd,
    stage_lr_factors,
)

RECIPE_1X = ScheduleOptions(
    max_iter=90000, steps=(60000, 80000), warmup_factor=0.00025, warmup_iters=4000
)


def multiplier(name: str, *, base_lr: float = 0.02, **changes: Any) -> Multiplier:
    options = replace(RECIPE_1X, name=name, **changes)
    return learning_rate_multiplier(options, base_lr=base_lr)


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [
        (0, 5e-06),
        (1, 9.99875e-06),
        (500, 0.0025043749999999997),
        (4000, 0.02),
        (59999, 0.02),
        (60000, 0.002),
    ],
)
def test_multi_step(iteration: int, lr: float) -> None:
    assert 0.02 * multiplier("WarmupMultiStepLR")(iteration) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [
        (0, 8e-05),
        (1, 0.00015989563308076382),
        (999, 0.07989573744768308),
        (1000, 0.07997563308076383),
        (30000, 0.06),
    ],
)
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
    schedule = scheduler(optimizer, lambda iteration: 0.5**iteration)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]


def small_network() -> nn.Sequential:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 1)
    )
    network[3].weight.requires_grad_(False)
    network.append(network[0])  # shared: belongs into one group once
    return network


def groups_of(network: nn.Module, **changes: Any) -> dict[tuple[float, float], list[str]]:
    options: dict[str, Any] = {
        "base_lr": 0.02,
        "weight_decay": 0.0001,
        "weight_decay_norm": 0.0,
        "bias_lr_factor": 1.0,
        "weight_decay_bias": None,
        "lr_factors": {},
    }
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, **{**options, **changes})
    return {
        (group["lr"], group["weight_decay"]): [names[p] for p in group["params"]]
        for group in groups
    }


def test_normalization_layers_have_own_weight_decay() -> None:
    assert groups_of(small_network()) == {
        (0.02, 0.0001): ["0.weight", "0.bias", "3.bias"],
        (0.02, 0.0): ["1.weight", "1.bias", "2.weight", "2.bias"],
    }


def test_biases_have_own_rate_and_decay() -> None:
    assert groups_of(small_network(), bias_lr_factor=2.0, weight_decay_bias=0.5) == {
        (0.02, 0.0001): ["0.weight"],
        (0.04, 0.5): ["0.bias", "1.bias", "2.bias", "3.bias"],
        (0.02, 0.0): ["1.weight", "2.weight"],
    }


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return parameters


@pytest.mark.parametrize(
    ("clip_type", "expected"),
    [("value", [[1.0, -1.0], [0.5, 0.5]]), ("norm", [[0.6, -0.8], [0.5, 0.5]])],
)
def test_clipping_each_parameter(clip_type: Any, expected: list[list[float]]) -> None:
    parameters = with_gradients([3.0, -4.0], [0.5, 0.5])
    clip_gradients(parameters, clip_type=clip_type, clip_value=1.0, norm_type=2.0)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, torch.tensor(gradient))


def test_clipping_all_gradients_together() -> None:
    parameters = with_gradients([3.0, 0.0], [0.0, 4.0])
    clip_gradients(parameters, clip_type="full_model", clip_value=1.0, norm_type=2.0)
    torch.testing.assert_close(
        torch.cat([p.grad for p in parameters]), torch.tensor([0.6, 0, 0, 0.8])
    )


def test_learning_rate_falls_towards_the_stem() -> None:
    stem, stage, head = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(3))
    model = nn.ModuleDict(
        {"backbone": nn.Sequential(nn.Sequential(stem, nn.ReLU(), stage)), "head": head}
    )
    factors = stage_lr_factors(backbone_stages(model["backbone"]), multiplier=0.5, layer_decay=0.8)
    rates = {
        name: lr
        for (lr, _), names in groups_of(model, lr_factors=factors).items()
        for name in names
    }
    expected = {
        "backbone.0.0.weight": 0.02 * 0.5 * 0.64,
        "backbone.0.2.weight": 0.02 * 0.5 * 0.8,
        "head.weight": 0.02,
    }
    assert rates == pytest.approx(expected)


def test_sgd_by_hand() -> None:
    """Six steps against the textbook recurrence v = 0.9 v + g + wd w; w = w - lr v."""
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = sgd(
        [{"params": [weight], "lr": 0.1, "weight_decay": 0.5}], lr=0.1, momentum=0.9, nesterov=False
    )
    expected, velocity = 1.0, 0.0
    for step in range(6):
        weight.grad = torch.tensor([float(step - 2)])
        optimizer.step()
        velocity = 0.9 * velocity + (step - 2) + 0.5 * expected
        expected -= 0.1 * velocity
        assert weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [partial(sgd, lr=0.1, momentum=0.9, nesterov=True), partial(adamw, lr=0.1, betas=(0.9, 0.999))],
    ids=["sgd", "adamw"],
)
def test_skipped_first_step_leaves_no_trace(make: Any) -> None:
    """Pass the scaler's flag to fused kernels, and keep their state finite."""
    weights = [nn.Parameter(torch.linspace(-1, 1, 1000)) for _ in range(2)]
    skipping, plain = (make([{"params": [weight]}]) for weight in weights)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    for step in range(3):
        weights[0].grad = weights[0].detach() * (float("nan") if step == 0 else 1.0)
        scaler.scale(torch.zeros(()))
        scaler.step(skipping)
        scaler.update(1.0)
        if step > 0:
            weights[1].grad = weights[1].detach().clone()
            plain.step()
    assert torch.equal(weights[0], weights[1])
