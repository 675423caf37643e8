"""A model under training with everything that changes with it, and its files."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from centernet2 import distributed
from centernet2.builders.evaluator import evaluate_dataset
from centernet2.builders.solver import build_multiplier, build_optimizer, choose_precision
from centernet2.checkpoint import Checkpoint, save_checkpoint
from centernet2.config import Config, ConfigError
from centernet2.data.dataset import DetectionDataset
from centernet2.devices import grad_scaler
from centernet2.evaluation.inference import Interrupted
from centernet2.models.checkpointing import backbone_stages
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_training
from centernet2.training.callbacks import BestResult
from centernet2.training.ema import AveragedWeights
from centernet2.training.optim import scheduler
from centernet2.training.sharding import gathered, shard, shard_optimizer_state, whole
from centernet2.training.state import Stateful, restore_training_state, training_state

AVERAGED = "ema/"  # before the names of the averaged weights' figures


class Job:
    """What a checkpoint holds and a resumed run puts back.

    Args:
        model: with its first weights.
        config: of the run.
        accelerator: places the model and joins the processes.
        seed: of the random numbers of this run.
        output: folder of the run's files.
    """

    def __init__(
        self, model: Detector, config: Config, accelerator: Accelerator, seed: int, output: Path
    ) -> None:
        self.model = model
        self.config = config
        self.accelerator = accelerator
        self.output = output
        self.seed = seed
        _adapt(model, config, accelerator.device)
        self.is_sharded = config.run.fsdp and distributed.world_size() > 1
        self.prepared = (
            _sharded(model, accelerator.device) if self.is_sharded else _joined(model, accelerator)
        )
        self.optimizer = build_optimizer(config, model)  # after the model has moved to its device
        self.schedule = scheduler(self.optimizer, build_multiplier(config))
        self.precision = choose_precision(
            accelerator.device, amp=config.run.amp, dtype=config.run.amp_dtype
        )
        self.scaler = grad_scaler(accelerator.device, self.precision)
        self.generator = torch.Generator(accelerator.device).manual_seed(seed + distributed.rank())
        self.last = config.schedule.max_iter if config.run.train_iter < 0 else config.run.train_iter
        self.average = (
            AveragedWeights(model, decay=config.ema.decay, warmup_iters=config.ema.warmup_iters)
            if config.ema.enabled
            else None
        )
        names = ["bbox/AP"] if self.average is None else [f"{AVERAGED}bbox/AP", "bbox/AP"]
        self.best = BestResult(names, self._save_best, patience=config.run.patience)
        if model.roi_heads is not None:
            model.roi_heads.generator = self.generator

    @property
    def parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "optimizer": self.optimizer,
            "scheduler": self.schedule,
            "scaler": self.scaler,
            "best": self.best,
        }
        return parts if self.average is None else parts | {"average": self.average}

    def restore(self, state: Mapping[str, Any]) -> int:
        """Puts the state of a training back and returns the number of steps that were done."""
        if self.is_sharded:
            parts = {
                **state["parts"],
                "optimizer": shard_optimizer_state(state["parts"]["optimizer"], self.optimizer),
            }
            state = {**state, "parts": parts}
        return restore_training_state(state, self.parts, [self.generator])

    @contextmanager
    def whole_model(self) -> Iterator[Detector]:
        """The model in a form that each process may use on its own; to be entered by all of them."""
        with gathered(self.model) if self.is_sharded else nullcontext():
            yield self.model

    def evaluate(self, dataset: DetectionDataset, interrupted: Interrupted) -> dict[str, float]:
        """Figures of the weights, and of the averaged ones where they are kept."""
        run = partial(
            evaluate_dataset, dataset=dataset, config=self.config, interrupted=interrupted
        )
        with self.whole_model() as model:
            metrics = run(model, output=self.output / "eval")
        if self.average is None:
            return metrics
        with self.average.applied(), self.whole_model() as model:
            averaged = run(model, output=self.output / "eval_ema")
        return metrics | {f"{AVERAGED}{name}": value for name, value in averaged.items()}

    def save(self, iteration: int) -> Path:
        """Writes a checkpoint to resume from; to be called on every process."""
        path = self.output / f"model_{iteration:07d}.pth"
        training = whole(training_state(iteration, self.parts, [self.generator]))
        self._write(path, iteration=iteration, metrics={}, training=training)
        return path

    def save_final(self, metrics: Mapping[str, float]) -> None:
        """Writes model_final.pth, and model_final_ema.pth with the averaged weights."""
        write = partial(self._write, iteration=self.last, metrics=metrics, training=None)
        write(self.output / "model_final.pth")
        if self.average is not None:
            with self.average.applied():
                write(self.output / "model_final_ema.pth")

    def _save_best(self, name: str, iteration: int, metrics: Mapping[str, float]) -> None:
        """Writes model_best.pth, in a training that evaluates more than once."""
        if self.config.run.eval_period <= 0:
            return
        averaged = self.average is not None and name.startswith(AVERAGED)
        with self.average.applied() if averaged and self.average else nullcontext():
            self._write(
                self.output / "model_best.pth", iteration=iteration, metrics=metrics, training=None
            )

    def _write(
        self,
        path: Path,
        *,
        iteration: int,
        metrics: Mapping[str, float],
        training: Mapping[str, Any] | None,
    ) -> None:
        weights = whole(self.model.state_dict())
        if distributed.is_main_process():
            checkpoint = Checkpoint(weights, self.model.info, iteration, metrics, training)
            save_checkpoint(path, checkpoint)


def _sharded(model: Detector, device: torch.device) -> Detector:
    heads = [] if model.roi_heads is None else list(model.roi_heads.stages)
    parts = [*backbone_stages(model.backbone), model.neck, model.proposal_generator.head, *heads]
    shard(model.to(device), parts, device)
    return model


def _joined(model: Detector, accelerator: Accelerator) -> Any:
    """The model on its device, of several processes one that exchanges gradients."""
    with warnings.catch_warnings():  # what is deprecated there is how accelerate calls PyTorch
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return accelerator.prepare(model)


def _adapt(model: Detector, config: Config, device: torch.device) -> None:
    """Changes how the model computes, not what."""
    run = config.run
    if run.compile and run.gradient_checkpointing:
        raise ConfigError(
            "SOLVER.COMPILE and SOLVER.GRADIENT_CHECKPOINTING exclude each other; leave one of them out"
        )
    if run.fsdp and run.channels_last:
        raise ConfigError(
            "SOLVER.FSDP shares out contiguous weights only; leave SOLVER.CHANNELS_LAST out"
        )
    if run.sync_bn:  # before towers are cut in parts that are recomputed
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    synchronised = any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    if synchronised and device.type == "cpu" and distributed.world_size() > 1:
        raise ConfigError(
            "PyTorch synchronises batch statistics on accelerators only: train without SyncBN on the CPU"
        )
    usual = torch.contiguous_format if run.fsdp else None
    optimize_for_training(
        model,
        device=device,
        memory_format=torch.channels_last if run.channels_last else usual,
        gradient_checkpointing=run.gradient_checkpointing,
        compile=run.compile,
    )
