from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from centernet2.models.backbones.backbone import backbone_stages
from centernet2.training.optim import (
    adamw,
    carry_state,
    clip_gradients,
    parameter_groups,
    sgd,
    stage_lr_factors,
)

OPTIONS: dict[str, Any] = {
    "base_lr": 0.02, "weight_decay": 0.0001, "weight_decay_norm": 0.0, "bias_lr_factor": 1.0,
    "weight_decay_bias": None, "lr_factors": {},
}  # fmt: skip


def small_network() -> nn.Sequential:
    first, last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
    network = nn.Sequential(first, nn.BatchNorm2d(4), nn.GroupNorm(2, 4), last)
    network[3].weight.requires_grad_(False)
    network.append(network[0])  # shared: belongs into one group once
    return network


def groups_of(network: nn.Module, **changes: Any) -> dict[tuple[float, float], list[str]]:
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, **OPTIONS | changes)
    return {(g["lr"], g["weight_decay"]): [names[p] for p in g["params"]] for g in groups}


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


def optimizer_of(network: nn.Module, *, momentum: float, **changes: Any) -> torch.optim.SGD:
    groups = parameter_groups(network, **OPTIONS | {"base_lr": 0.1, "weight_decay": 0.01} | changes)
    return sgd(groups, lr=0.1, momentum=momentum, nesterov=False)


@pytest.mark.parametrize(("changes", "sizes"), [
    ({"weight_decay_norm": 0.01}, [7]),  # the groups are joined
    ({"bias_lr_factor": 2.0}, [1, 2, 2, 2]),  # and divided
])  # fmt: skip
def test_state_is_carried_by_name_and_options_are_not(
    changes: dict[str, Any], sizes: list[int]
) -> None:
    network = small_network()
    before = optimizer_of(network, momentum=0.9)
    for value, (parameter, state) in enumerate(before.state.items()):
        state["momentum_buffer"] = torch.full_like(parameter, value)
    saved = before.state_dict()
    after = optimizer_of(network, momentum=0.5, base_lr=0.3, **changes)
    options = [{**g, "params": 0} for g in after.param_groups]
    after.load_state_dict(carry_state(saved, after))
    assert sorted(len(group["params"]) for group in after.param_groups) == sizes
    assert [{**group, "params": 0} for group in after.param_groups] == options
    for parameter, state in before.state.items():
        assert torch.equal(after.state[parameter]["momentum_buffer"], state["momentum_buffer"])


def test_momentum_begins_at_zero_when_it_is_switched_on() -> None:
    network = small_network()
    off, on = (optimizer_of(network, momentum=value) for value in (0.0, 0.9))
    on.load_state_dict(carry_state(off.state_dict(), on))
    assert all(not state["momentum_buffer"].any() for state in on.state.values())
    off.load_state_dict(carry_state(on.state_dict(), off))
    assert not off.state


def test_groups_without_names_must_be_the_same() -> None:
    network = small_network()
    before = optimizer_of(network, momentum=0.9)
    saved = before.state_dict()
    for group in saved["param_groups"]:
        del group["names"]
    same, other = (optimizer_of(network, momentum=0.9, bias_lr_factor=f) for f in (1.0, 2.0))
    same.load_state_dict(carry_state(saved, same))
    with pytest.raises(ValueError, match="the same learning rates and weight decays"):
        carry_state(saved, other)


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
    gradients = torch.cat([p.grad for p in parameters])
    torch.testing.assert_close(gradients, torch.tensor([0.6, 0, 0, 0.8]))


def test_learning_rate_falls_towards_the_stem() -> None:
    stem, stage, head = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(3))
    backbone = nn.Sequential(nn.Sequential(stem, nn.ReLU(), stage))
    model = nn.ModuleDict({"backbone": backbone, "head": head})
    factors = stage_lr_factors(backbone_stages(model["backbone"]), multiplier=0.5, layer_decay=0.8)
    groups = groups_of(model, lr_factors=factors)
    rates = {name: lr for (lr, _), names in groups.items() for name in names}
    of_backbone = {"backbone.0.0.weight": 0.01 * 0.64, "backbone.0.2.weight": 0.01 * 0.8}
    assert rates == pytest.approx({**of_backbone, "head.weight": 0.02})


def test_sgd_by_hand() -> None:
    """Six steps against the textbook recurrence v = 0.9 v + g + wd w; w = w - lr v."""
    weight = nn.Parameter(torch.tensor([1.0]))
    group = {"params": [weight], "lr": 0.1, "weight_decay": 0.5}
    optimizer = sgd([group], lr=0.1, momentum=0.9, nesterov=False)
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
