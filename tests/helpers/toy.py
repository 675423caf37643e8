"""A tiny model and a stream of tiny batches."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from centernet2.devices import Precision, create_accelerator, grad_scaler
from centernet2.structures import Target
from centernet2.training.loop import StepOptions, train_loop
from centernet2.training.optim import clip_gradients, parameter_groups, sgd
from centernet2.training.schedule import Schedule
from centernet2.training.step import Callback


class Batch(NamedTuple):
    images: list[Tensor]
    targets: list[Target]
    image_ids: list[int | str]


class ToyDetector(nn.Module):
    """A detector with two losses, and with noise from its own generator."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.generator = generator
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, -0.25, 1.0], [-1.0, 0.75, 0.25]]))
            self.layer.bias.copy_(torch.tensor([0.1, -0.2]))

    def forward(self, images: list[Tensor], targets: list[Target]) -> dict[str, Tensor]:
        outputs = self.layer(torch.stack([image.float().mean((1, 2)) / 255 for image in images]))
        if self.generator is not None:
            outputs = outputs + torch.rand(outputs.shape, generator=self.generator)
        wanted = torch.stack([target["boxes"].sum() for target in targets])
        return {
            "loss_a": (outputs[:, 0] - wanted).square().mean(),
            "loss_b": outputs[:, 1].square().mean(),
        }


def make_batch(step: int, size: int = 2, share: slice = slice(None)) -> Batch:
    """Make the batch of a step, or one process's share of it."""
    generator = torch.Generator().manual_seed(step)
    images = [
        torch.randint(256, (3, 4, 4), generator=generator, dtype=torch.uint8) for _ in range(size)
    ]
    targets = [
        Target(
            boxes=torch.rand(1, 4, generator=generator), labels=torch.zeros(1, dtype=torch.int64)
        )
        for _ in range(size)
    ]
    return Batch(images[share], targets[share], [step * 100 + i for i in range(size)][share])


def spoiled(batch: Batch) -> Batch:
    """Return a batch with NaN in its targets."""
    targets = [
        Target(boxes=target["boxes"] * float("nan"), labels=target["labels"])
        for target in batch.targets
    ]
    return batch._replace(targets=targets)


def stream(start: int = 0, make: Callable[[int], Batch] = make_batch) -> Iterator[Batch]:
    while True:
        yield make(start)
        start += 1


def spoil_step(bad: set[int], step: int) -> Batch:
    """Make the batch of a step, with NaN in the bad steps."""
    return spoiled(make_batch(step)) if step in bad else make_batch(step)


def weights(model: nn.Module) -> Tensor:
    """Return all parameters as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class Run:
    """The parts of a training run, with the options of a small recipe."""

    def __init__(
        self, model: nn.Module, *, precision: Precision = "fp32", accumulation_steps: int = 1
    ) -> None:
        device = torch.device("cpu")
        self.accelerator = create_accelerator(device)
        self.model = self.accelerator.prepare(model)
        groups = parameter_groups(
            model, base_lr=0.1, weight_decay=0.01, weight_decay_norm=0.0, bias_lr_factor=1.0,
            weight_decay_bias=None, lr_factors={},
        )  # fmt: skip
        self.optimizer = sgd(groups, lr=0.1, momentum=0.9, nesterov=False)
        self.scheduler = Schedule(self.optimizer, lambda iteration: 1 / (1 + iteration))
        self.precision: Precision = precision
        self.scaler = grad_scaler(device, precision)
        self.accumulation_steps = accumulation_steps

    @property
    def parts(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "scheduler": self.scheduler, "scaler": self.scaler}

    def train(
        self,
        batches: Iterator[Batch],
        start: int,
        stop: int,
        callbacks: list[Callback] | None = None,
    ) -> None:
        options = StepOptions(
            precision=self.precision,
            accumulation_steps=self.accumulation_steps,
            clip=partial(clip_gradients, clip_type="value", clip_value=1.0, norm_type=2.0),
        )
        train_loop(
            self.model, self.optimizer, self.scheduler, batches, accelerator=self.accelerator,
            scaler=self.scaler, options=options, start_iteration=start, max_iteration=stop,
            callbacks=callbacks or [],
        )  # fmt: skip
