"""The state of a training run, and its checkpoints."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.optim.lr_scheduler import LRScheduler

from centernet2 import distributed
from centernet2.checkpoint import Checkpoint, load_equal, save_checkpoint
from centernet2.checkpoint.checkpoint import BEST_FILE, FINAL_FILE
from centernet2.structures import ModelInfo
from centernet2.training.best_result import BestResult
from centernet2.training.ema import AveragedWeights
from centernet2.training.optim import carry_state
from centernet2.training.sharding import gathered, shard_optimizer_state, whole
from centernet2.training.time_budget import TimeBudget

logger = logging.getLogger(__name__)

AVERAGED = "ema/"  # prefix of the metrics of the averaged weights
FINAL_AVERAGED_FILE = "model_final_ema.pth"
METRIC = "bbox/AP"  # its highest value marks the best weights

EvaluateInto = Callable[[Path], dict[str, float]]  # writes detections and metrics into the folder


class Stateful(Protocol):
    """An object whose state can be saved and restored, such as an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass(eq=False)
class RunState:
    """The state of a training run: the model and all that its checkpoints hold."""

    model: nn.Module  # on its device; its weights must stay in the same memory
    info: ModelInfo  # saved with the weights
    _: KW_ONLY
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    generator: torch.Generator  # random numbers of this process
    average: AveragedWeights | None  # evaluated and saved in addition to the raw weights
    patience: InitVar[int]  # evaluations without improvement after which to stop; 0: never
    budget: TimeBudget | None = None  # limit on the time of the run
    output: Path  # folder of the checkpoints
    origin: Mapping[str, Any] = field(default_factory=dict)  # how the weights came about

    def __post_init__(self, patience: int) -> None:
        names = [METRIC] if self.average is None else [f"{AVERAGED}{METRIC}", METRIC]
        self.best = BestResult(names, patience=patience)

    @property
    def iteration(self) -> int:
        """Steps done."""
        return int(self.schedule.last_epoch)

    @property
    def parts(self) -> dict[str, Stateful]:
        """The stateful objects besides the model, by their keys in a checkpoint."""
        parts: dict[str, Stateful] = {
            "optimizer": self.optimizer,
            "scheduler": self.schedule,
            "scaler": self.scaler,
            "best": self.best,
        }
        optional = {"average": self.average, "budget": self.budget}
        return parts | {name: part for name, part in optional.items() if part is not None}

    @property
    def is_sharded(self) -> bool:
        return isinstance(self.model, FSDPModule)

    def restore(self, state: Mapping[str, Any], *, same_seed: bool = True) -> None:
        """Restore the training state of a checkpoint; the weights are loaded separately.

        Options are not part of it: those of this run apply from the next step.

        Args:
            state: of the checkpoint.
            same_seed: whether the random numbers of the checkpoint continue.
        """
        parts = self.parts
        if self.average is not None and "average" not in state["parts"]:
            logger.info("the averaged weights start from those of the checkpoint")
            del parts["average"]
        if self.budget is not None and "budget" not in state["parts"]:
            logger.info("the time of the run is counted from now on")
            del parts["budget"]
        if missing := sorted(set(parts) - set(state["parts"])):
            raise ValueError(
                f"the checkpoint holds no state of {', '.join(missing)}: "
                "it cannot be resumed, only loaded (--weights)"
            )
        optimizer = carry_state(state["parts"]["optimizer"], self.optimizer)
        if self.is_sharded:
            optimizer = shard_optimizer_state(optimizer, self.optimizer)
        state = {**state, "parts": {**state["parts"], "optimizer": optimizer}}
        restore_training_state(state, parts, [self.generator] if same_seed else None)

    @contextmanager
    def whole_model(self) -> Iterator[None]:
        """Gather a sharded model on each process; all processes enter the context."""
        with gathered(self.model) if self.is_sharded else nullcontext():
            yield

    def evaluate(self, evaluate_into: EvaluateInto) -> dict[str, float]:
        """Evaluate the weights, and the averaged ones under a prefix.

        Each process has batch statistics of its own: those of the main process, which the
        checkpoints hold, are evaluated.
        """
        with self.whole_model():
            distributed.copy_from_main_process(self.model.buffers())
            metrics = evaluate_into(self.output / "eval")
        if self.average is None:
            return metrics
        with self.average.applied(), self.whole_model():
            distributed.copy_from_main_process(self.model.buffers())
            averaged = evaluate_into(self.output / "eval_ema")
        return metrics | {f"{AVERAGED}{name}": value for name, value in averaged.items()}

    def save(self, iteration: int) -> Path:
        """Write a checkpoint to resume from; call it on every process."""
        path = self.output / f"model_{iteration:07d}.pth"
        training = whole(training_state(iteration, self.parts, [self.generator]))
        self._write(path, iteration, {}, training)
        return path

    def save_final(self, metrics: Mapping[str, float], *, keep_equal: bool = False) -> None:
        """Write model_final.pth, and model_final_ema.pth with the averaged weights.

        Args:
            metrics: of these weights.
            keep_equal: do not replace a file that already holds these weights.
        """

        def write(name: str) -> None:
            self._write(self.output / name, self.iteration, metrics, keep_equal=keep_equal)

        write(FINAL_FILE)
        if self.average is not None:
            with self.average.applied():
                write(FINAL_AVERAGED_FILE)

    def save_best(self, name: str, metrics: Mapping[str, float]) -> None:
        """Write model_best.pth with the raw or averaged weights, by the metric's name."""
        averaged = self.average is not None and name.startswith(AVERAGED)
        with self.average.applied() if averaged and self.average else nullcontext():
            self._write(self.output / BEST_FILE, self.iteration, metrics)

    def _write(
        self,
        path: Path,
        iteration: int,
        metrics: Mapping[str, float],
        training: Mapping[str, Any] | None = None,
        *,
        keep_equal: bool = False,
    ) -> None:
        weights = whole(self.model.state_dict())
        with distributed.failing_together():
            saved = load_equal(path, weights) if distributed.is_main_process() else None
            if distributed.is_main_process() and not (keep_equal and saved):
                info, origin = self.info, {**self.origin, "file": path.name}
                if saved is not None:  # `centernet2 threshold` may have chosen these since
                    chosen = saved.info.score_thresholds, saved.info.calibration
                    info = replace(info, score_thresholds=chosen[0], calibration=chosen[1])
                save_checkpoint(
                    path, Checkpoint(weights, info, iteration, metrics, training, origin)
                )


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
    state: Mapping[str, Any],
    parts: Mapping[str, Stateful],
    generators: Sequence[torch.Generator] | None,
) -> None:
    """Restore the state of a training run; the schedule counts its steps.

    Without `generators`, random numbers start anew.
    """
    for name, part in parts.items():
        if saved := state["parts"][name]:  # a scaler of scale 1 has no state
            part.load_state_dict(saved)
    if generators is None:
        return
    if len(state["random"]) == distributed.world_size():
        _restore_random_state(state["random"][distributed.rank()], generators)
    else:
        logger.warning(
            "The checkpoint was written by %d processes and is resumed by %d: "
            "random numbers start anew.",
            len(state["random"]),
            distributed.world_size(),
        )


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
        if len(generator_state) == len(generator.get_state()):
            generator.set_state(generator_state)
        else:  # the states of CPU and GPU differ in length
            logger.warning(
                "The checkpoint was written on another kind of device than %s: "
                "the random numbers of the device start anew.",
                generator.device,
            )
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
