"""The training job: data, model and loop from settings, and what is kept of them on disk."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from centernet2 import distributed
from centernet2.build import (
    build_clip,
    build_detector,
    build_multiplier,
    build_optimizer,
    build_sampler,
    build_train_transform,
)
from centernet2.checkpoint.load import load_state
from centernet2.checkpoint.save import last_checkpoint, save_checkpoint
from centernet2.config import Config, ConfigError
from centernet2.data.catalog import find_split
from centernet2.data.dataset import DetectionDataset, require_masks, without_empty_images
from centernet2.data.loader import Batch, train_batches
from centernet2.data.samplers import images_per_class
from centernet2.devices import Precision, choose_device, create_accelerator, grad_scaler
from centernet2.models.detector import Detector
from centernet2.run.evaluation import evaluate_dataset
from centernet2.run.models import StrPath, config_of, resolve, with_classes
from centernet2.run.weights import find_weights, keep_suited, load_initial_weights, starts_from_timm, suit_weights
from centernet2.training.callbacks import NonFiniteGuard, PeriodicCheckpoint, PeriodicEvaluation, StopOnSignal
from centernet2.training.loop import train as train_loop
from centernet2.training.optim import scheduler
from centernet2.training.state import Callback, Stateful, restore_training_state, training_state
from centernet2.training.writers import MetricsLogger, ProgressBar, open_writers
from centernet2.zoo.download import DownloadError
from centernet2.zoo.published import PREFIX

logger = logging.getLogger(__name__)

NONFINITE_LIMIT = 20  # skipped steps in a row that end a training


class TrainingInterrupted(Exception):
    """A signal has ended training; a checkpoint is written, and `resume` goes on from it."""


def train(
    config: Config | StrPath,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    output_dir: StrPath | None = None,
    weights: StrPath | None = None,
    resume: bool = False,
    seed: int | None = None,
    device: str | None = None,
) -> dict[str, float]:
    """Trains a detector, evaluates it and returns the figures.

    Args:
        config: as for `build_model`.
        data: folder with images/, annotations/instances_train.json and instances_val.json.
        data_path: or the folder above a COCO 2017 folder.
        output_dir: receives checkpoints, config.yaml, metrics.jsonl and the evaluation; default: OUTPUT_DIR.
        weights: file to start from, or zoo:NAME; default: MODEL.WEIGHTS, of which detectron2://... is looked for in the
            cache and left out where it is not there.
        resume: go on from the last checkpoint of `output_dir`.
        seed: of all random numbers; default: SEED.
        device: default: the best there is.
    """
    settings = resolve(config)
    splits = {"data": None if data is None else Path(data), "data_path": None if data_path is None else Path(data_path)}
    masks = settings.model.mask_on
    train_set = find_split(names=settings.datasets.train, split="train", masks=masks, **splits)
    val_set = find_split(names=settings.datasets.test, split="val", masks=masks, **splits)
    settings = with_classes(settings, len(train_set.class_names), owner=train_set.name)
    if masks:
        require_masks(train_set)
    if settings.loader.filter_empty:
        train_set = without_empty_images(train_set)
    output = Path(output_dir or settings.run.output_dir.replace("/auto", f"/{settings.name}"))
    accelerator = create_accelerator(choose_device(device))
    seed = _choose_seed(settings.run.seed if seed is None else seed)
    torch.manual_seed(seed)

    found = last_checkpoint(output) if resume else None
    initial = _initial_weights(weights, settings) if found is None else None
    settings = suit_weights(settings, initial) if found is None else keep_suited(settings, config_of(found[1]))
    model = build_detector(
        settings, image_counts=images_per_class(train_set.labels, train_set.offsets, len(train_set.class_names))
    )
    model.class_names = train_set.class_names
    if found is not None:
        _load_resumed_weights(model, settings, *found)
    else:
        load_initial_weights(model, settings, initial)
    job = _Job(model, settings, accelerator, seed)
    start = job.restore(found[1]["training"]) if found else 0
    if distributed.is_main_process():
        output.mkdir(parents=True, exist_ok=True)
        (output / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    batches = _train_batches(settings, train_set, seed, start)
    metrics = _run(job, batches, val_set, output, start)
    if distributed.is_main_process():
        job.write(output / "model_final.pth", iteration=job.last, metrics=metrics, training=None)
    distributed.shut_down()
    return metrics


class _Job:
    """A model with everything that changes while it is trained: what a checkpoint holds and a resumed run puts back."""

    def __init__(self, model: Detector, config: Config, accelerator: Accelerator, seed: int) -> None:
        self.model = model
        self.config = config
        self.accelerator = accelerator
        self.prepared = accelerator.prepare(model)
        self.optimizer = build_optimizer(config, model)  # after the model has moved to its device
        self.schedule = scheduler(self.optimizer, build_multiplier(config))
        self.precision: Precision = "bf16" if config.run.amp else "fp32"
        self.scaler = grad_scaler(accelerator.device, self.precision)
        self.generator = torch.Generator(accelerator.device).manual_seed(seed + distributed.rank())
        self.last = config.schedule.max_iter if config.run.train_iter < 0 else config.run.train_iter
        if model.roi_heads is not None:
            model.roi_heads.generator = self.generator

    @property
    def parts(self) -> dict[str, Stateful]:
        return {"optimizer": self.optimizer, "scheduler": self.schedule, "scaler": self.scaler}

    def restore(self, state: Mapping[str, Any]) -> int:
        """Puts the state of a training back and returns the number of steps that were done."""
        return restore_training_state(state, self.parts, [self.generator])

    def save(self, folder: Path, iteration: int) -> Path:
        """Writes a checkpoint to resume from; to be called on every process."""
        path = folder / f"model_{iteration:07d}.pth"
        training = training_state(iteration, self.parts, [self.generator])
        if distributed.is_main_process():
            self.write(path, iteration=iteration, metrics={}, training=training)
        return path

    def write(
        self, path: Path, *, iteration: int, metrics: Mapping[str, float], training: Mapping[str, Any] | None
    ) -> None:
        save_checkpoint(
            path,
            model=self.model,
            config=self.config.to_yaml(),
            config_name=self.config.name,
            class_names=self.model.class_names,
            iteration=iteration,
            metrics=metrics,
            training=training,
        )


def _run(job: _Job, batches: Iterator[Batch], val_set: DetectionDataset, output: Path, start: int) -> dict[str, float]:
    """The loop with all that happens around it; returns the last evaluation."""
    options = job.config.run
    evaluate = partial(evaluate_dataset, job.model, val_set, job.config, output / "eval")
    with (
        open_writers(output, start_iteration=start) as writers,
        StopOnSignal(period=options.log_period) as stop,
        ProgressBar(start_iteration=start, max_iteration=job.last) as bar,
    ):
        evaluation = PeriodicEvaluation(evaluate, writers=writers, period=options.eval_period)
        callbacks: list[Callback] = [
            stop,
            MetricsLogger([*writers, bar], period=options.log_period, device=job.accelerator.device),
            bar,
            NonFiniteGuard(output / "nonfinite.jsonl", limit=NONFINITE_LIMIT, period=options.log_period),
            evaluation,
            PeriodicCheckpoint(
                partial(job.save, output), period=options.checkpoint_period, keep=options.checkpoints_kept
            ),
        ]
        train_loop(
            job.prepared,
            job.optimizer,
            job.schedule,
            batches,
            accelerator=job.accelerator,
            scaler=job.scaler,
            precision=job.precision,
            start_iteration=start,
            max_iteration=job.last,
            accumulation_steps=1,
            clip=build_clip(job.config),
            callbacks=callbacks,
        )
    if stop.received:
        raise TrainingInterrupted(f"training was interrupted; --resume goes on from the last checkpoint in {output}")
    if start >= job.last and options.eval_period >= 0:  # nothing was left to train
        return evaluate()
    return evaluation.results


def _train_batches(config: Config, dataset: DetectionDataset, seed: int, start: int) -> Iterator[Batch]:
    processes = distributed.world_size()
    if config.run.ims_per_batch % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH {config.run.ims_per_batch} is no multiple of the {processes} processes"
        )
    return train_batches(
        dataset,
        build_train_transform(config),
        build_sampler(config, dataset, seed),
        batch_size=config.run.ims_per_batch // processes,
        num_workers=config.loader.num_workers,
        start_step=start,
        aspect_ratio_grouping=config.loader.aspect_ratio_grouping,
        rank=distributed.rank(),
        world_size=processes,
    )


def _initial_weights(given: StrPath | None, config: Config) -> Path | None:
    configured = config.model.weights
    if given is not None or starts_from_timm(config):
        return find_weights(given)
    try:
        return find_weights(configured or None)
    except DownloadError as error:
        if configured.startswith(PREFIX):
            raise
        logger.warning("%s. Training from scratch.", error)
        return None


def _load_resumed_weights(model: Detector, config: Config, path: Path, checkpoint: dict[str, Any]) -> None:
    """Takes the weights of the checkpoint to resume from, and says which settings have changed since."""
    report = load_state(model, checkpoint["model"])
    before = config_of(checkpoint)
    changed = [f"{key} {before[key]} -> {config[key]}" for key in config.changed_from(before)]
    if report.reinitialized or report.mismatched or report.skipped:
        raise ConfigError(
            f"{path} holds another model than these settings ({'; '.join(changed) or 'no option differs'}); "
            "resume with the settings of the run, or train into another --output-dir"
        )
    logger.info("resuming from %s", path)
    if changed:
        logger.warning("changed since the checkpoint was written: %s", "; ".join(changed))


def _choose_seed(seed: int) -> int:
    if seed < 0:
        seed = distributed.gather_objects(int(torch.seed() % 2**31))[0]
        logger.info("seed %d", seed)
    return seed
