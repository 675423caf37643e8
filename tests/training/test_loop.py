from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from centernet2.devices import Precision
from centernet2.training.step import FinishedStep
from tests.helpers.toy import Run, ToyDetector, make_batch, spoil_step, stream, weights


def test_six_steps_by_hand() -> None:
    """Gradients, clipping, weight decay, momentum and schedule, written out."""
    model = ToyDetector()
    weight, bias = model.layer.weight.detach().clone(), model.layer.bias.detach().clone()
    velocities = [torch.zeros_like(weight), torch.zeros_like(bias)]
    Run(model).train(stream(), 0, 6)

    for step in range(6):
        batch = make_batch(step)
        means = torch.stack([image.float().mean((1, 2)) / 255 for image in batch.images])  # [2, 3]
        errors = means @ weight.T + bias  # [2, 2]
        errors[:, 0] -= torch.stack([target["boxes"].sum() for target in batch.targets])
        gradients = [errors.T @ means, errors.sum(0)]  # d/dw mean(e^2) over two images = sum(e x)
        for value, velocity, gradient in zip([weight, bias], velocities, gradients, strict=True):
            velocity.mul_(0.9).add_(gradient.clamp(-1, 1) + 0.01 * value)
            value.sub_(0.1 / (1 + step) * velocity)
    torch.testing.assert_close(model.layer.weight.detach(), weight)
    torch.testing.assert_close(model.layer.bias.detach(), bias)


def test_callbacks_see_every_step_and_stop() -> None:
    seen: list[FinishedStep] = []

    def stop_at_three(step: FinishedStep) -> None:
        seen.append(step)
        step.stop = step.iteration == 3

    Run(ToyDetector()).train(stream(), 0, 5, [stop_at_three])
    assert [step.iteration for step in seen] == [1, 2, 3]
    assert [step.is_last for step in seen] == [False, False, True]
    assert [step.lr for step in seen] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert seen[1].image_ids == [100, 101]
    assert set(seen[0].losses) == {"loss_a", "loss_b"}


def test_model_returns_to_training_mode() -> None:
    run = Run(ToyDetector())
    modes: list[bool] = []
    run.model.register_forward_pre_hook(lambda module, inputs: modes.append(module.layer.training))
    run.train(stream(), 0, 3, [lambda step: run.model.layer.eval() and None])
    assert modes == [True, True, True]


def test_accumulated_batches_equal_one_large_batch() -> None:
    whole, parts = ToyDetector(), ToyDetector()
    Run(whole).train(stream(make=partial(make_batch, size=4)), 0, 5)
    shares = (
        make_batch(step, 4, share) for step in range(5) for share in (slice(0, 2), slice(2, 4))
    )
    Run(parts, accumulation_steps=2).train(shares, 0, 5)
    torch.testing.assert_close(weights(whole), weights(parts))


class HostReads(TorchDispatchMode):
    """Counts the operators that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}
        self.count += func in waits
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_host_never_waits_for_a_step(precision: Precision) -> None:
    """A skipped step does not synchronize either."""
    run = Run(ToyDetector(), precision=precision)
    with HostReads() as reads:
        run.train(stream(make=partial(spoil_step, {1})), 0, 4)
        assert reads.count == 0
        torch.ones(1).item()
        assert reads.count == 1


def test_mixed_precision_stays_close() -> None:
    exact, rounded = ToyDetector(), ToyDetector()
    Run(exact).train(stream(), 0, 5)
    Run(rounded, precision="bf16").train(stream(), 0, 5)
    assert not torch.equal(weights(exact), weights(rounded))
    torch.testing.assert_close(weights(exact), weights(rounded), rtol=0.02, atol=0.02)


def test_batches_are_read_as_needed() -> None:
    batches = islice(stream(), 3)
    Run(ToyDetector()).train(batches, 0, 2)
    assert next(batches).image_ids == [200, 201]
