"""The record that callbacks get, and the state that an exact resume needs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from centernet2 import distributed

logger = logging.getLogger(__name__)


@dataclass
class TrainState:
    """One finished step. A callback may set `stop` to make it the last one."""

    iteration: int  # steps done, this one included
    max_iteration: int
    losses: dict[str, Tensor]  # [] each, of this process; reading them synchronizes
    finite: Tensor  # [] bool, equal on all processes; False: the step was skipped
    image_ids: list[int]  # of this process
    lr: float
    data_time: float  # seconds spent waiting for the batch
    step_time: float  # seconds of the whole step on the host, without callbacks
    stop: bool = False

    @property
    def is_last(self) -> bool:
        return self.stop or self.iteration >= self.max_iteration


Callback = Callable[[TrainState], None]


class Stateful(Protocol):
    """An object whose state can be saved and restored, such as an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def training_state(
    iteration: int, parts: Mapping[str, Stateful], generators: Sequence[torch.Generator]
) -> dict[str, Any]:
    """Return the state of a training run without weights; call it on every process."""
    return {
        "iteration": iteration,
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "random": distributed.gather_objects(_random_state(generators)),
    }


def restore_training_state(
    state: Mapping[str, Any], parts: Mapping[str, Stateful], generators: Sequence[torch.Generator]
) -> int:
    """Restore the state of a training run and return the number of steps done."""
    missing = sorted(set(parts) - set(state["parts"]))
    if missing:
        raise ValueError(
            f"the checkpoint holds no state of {', '.join(missing)}: "
            "it cannot be resumed, only loaded (--weights)"
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    if len(state["random"]) == distributed.world_size():
        _restore_random_state(state["random"][distributed.rank()], generators)
    else:
        logger.warning(
            "The checkpoint was written by %d processes and is resumed by %d: "
            "random numbers start anew.",
            len(state["random"]),
            distributed.world_size(),
        )
    return int(state["iteration"])


def _random_state(generators: Sequence[torch.Generator]) -> dict[str, Any]:
    state: dict[str, Any] = {
        "cpu": torch.get_rng_state(),
        "generators": [generator.get_state() for generator in generators],
    }
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None:
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def _restore_random_state(state: Mapping[str, Any], generators: Sequence[torch.Generator]) -> None:
    torch.set_rng_state(state["cpu"])
    for generator, generator_state in zip(generators, state["generators"], strict=True):
        generator.set_state(generator_state)
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
