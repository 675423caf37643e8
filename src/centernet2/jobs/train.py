"""The training job: data, model and loop from settings, and what is kept of them on disk."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from centernet2 import distributed
from centernet2.builders.loading import StrPath, resolve, with_classes
from centernet2.builders.network import build_detector
from centernet2.builders.pipeline import build_mixing, build_sampler, build_train_transform
from centernet2.builders.plan import count_in_iterations, describe
from centernet2.builders.solver import build_clip
from centernet2.builders.start import Resume, choose_start, fit_to_start, load_start
from centernet2.checkpoint.save import remove_unfinished, set_aside_checkpoints
from centernet2.config import Config, ConfigError
from centernet2.data.dataset import DetectionDataset, require_masks, without_empty_images
from centernet2.data.loader import Batch, train_batches
from centernet2.data.readers.catalog import find_split
from centernet2.data.samplers import images_per_class
from centernet2.devices import choose_device, create_accelerator, peak_memory
from centernet2.evaluation.scoring import EvaluationInterrupted
from centernet2.files import write_atomic
from centernet2.report.training_pictures import draw_predictions, drawn_batches
from centernet2.training.callbacks import (
    PeriodicCheckpoint,
    PeriodicEvaluation,
    StopOnSignal,
)
from centernet2.training.job import Job
from centernet2.training.loop import train_loop
from centernet2.training.nonfinite import NonFiniteGuard
from centernet2.training.state import Callback, TrainState
from centernet2.training.writers import MetricsLogger, ProgressBar, open_writers

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
        data: a folder or an annotation file in any layout, or the name of a data set.
        data_path: or the folder above a COCO 2017 folder.
        output_dir: receives checkpoints, config.yaml, metrics.jsonl and the evaluation; default: OUTPUT_DIR.
        weights: file to start from, or zoo:NAME; default: MODEL.WEIGHTS, of which detectron2://... is looked for in the
            cache and left out where it is not there.
        resume: go on from the last checkpoint of `output_dir`.
        seed: of all random numbers; default: SEED.
        device: default: the best there is.
    """
    setup = _set_up(
        resolve(config),
        data=data,
        data_path=data_path,
        output_dir=output_dir,
        weights=weights,
        resume=resume,
        seed=seed,
        device=device,
    )
    job = setup.job
    for line in setup.plan():
        logger.info("%s", line)
    if distributed.is_main_process():
        job.output.mkdir(parents=True, exist_ok=True)
        remove_unfinished(job.output)
        set_aside_checkpoints(job.output, after=setup.start)
        write_atomic(job.output / "config.yaml", job.config.to_yaml())
    metrics = _run(job, setup)
    job.save_final(metrics)
    logger.info("the weights, model_final.pth, and all else are in %s", job.output)
    distributed.shut_down()
    return metrics


def dry_run(config: Config | StrPath, **arguments: Any) -> list[str]:
    """Checks settings, data and weights, takes one step, keeps nothing; returns the plan of the training in words.

    The arguments are those of `train`.
    """
    setup = _set_up(resolve(config), **arguments)
    job = setup.job
    steps: list[TrainState] = []
    batches = _train_batches(job.config, setup.train_set, job.seed, setup.start)
    _loop(job, batches, start=setup.start, stop=setup.start + 1, callbacks=[steps.append])
    losses = ", ".join(f"{name} {loss.item():.4g}" for name, loss in steps[0].losses.items())
    memory = peak_memory(job.accelerator.device) / 2**30
    distributed.shut_down()
    return [
        *setup.plan(),
        f"one step on {job.accelerator.device} in {job.precision}: {losses}",
        f"memory of that step: {memory:.2f} GiB (larger images of the data need more)",
    ]


class _Setup(NamedTuple):
    """What a training begins with."""

    job: Job
    train_set: DetectionDataset
    val_set: DetectionDataset
    start: int  # steps done before

    def plan(self) -> list[str]:
        return describe(
            self.job.config,
            self.job.model,
            self.train_set,
            self.val_set,
            processes=distributed.world_size(),
            last=self.job.last,
        )


def _set_up(
    settings: Config,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    output_dir: StrPath | None = None,
    weights: StrPath | None = None,
    resume: bool = False,
    seed: int | None = None,
    device: str | None = None,
) -> _Setup:
    output = Path(output_dir or settings.run.output_dir.replace("/auto", f"/{settings.name}"))
    _require_writable(output)
    find = partial(
        find_split,
        data=None if data is None else Path(data),
        data_path=None if data_path is None else Path(data_path),
        val_fraction=settings.datasets.val_fraction,
        val_seed=settings.datasets.val_seed,
    )
    masks = settings.model.mask_on or settings.augmentation.copy_paste > 0
    train_set = find(names=settings.datasets.train, split="train", masks=masks)
    val_set = find(names=settings.datasets.test, split="val", masks=settings.model.mask_on)
    settings = with_classes(settings, len(train_set.class_names), owner=train_set.name)
    if masks:
        require_masks(train_set)
    if settings.loader.filter_empty:
        train_set = without_empty_images(train_set)
    settings = count_in_iterations(settings, len(train_set))
    foreign = settings.model.backbone == "timm"  # of some networks a part leads nowhere
    accelerator = create_accelerator(choose_device(device), find_unused_parameters=foreign)
    seed = _choose_seed(settings.run.seed if seed is None else seed)
    torch.manual_seed(seed)

    begin = choose_start(settings, output, weights=weights, resume=resume)
    settings = fit_to_start(settings, begin)
    model = build_detector(
        settings,
        image_counts=images_per_class(
            train_set.labels, train_set.offsets, len(train_set.class_names)
        ),
    )
    model.info = replace(model.info, class_names=train_set.class_names)
    load_start(model, settings, begin)
    job = Job(model, settings, accelerator, seed, output)
    start = job.restore(begin.checkpoint.training or {}) if isinstance(begin, Resume) else 0
    return _Setup(job, train_set, val_set, start)


def _run(job: Job, setup: _Setup) -> dict[str, float]:
    """The loop with all that happens around it; returns the last evaluation."""
    options, output, start = job.config.run, job.output, setup.start
    stop = StopOnSignal(period=options.log_period)
    folder, shown = output / "pictures", options.pictures if distributed.is_main_process() else 0

    def evaluate() -> dict[str, float] | None:
        try:
            return job.evaluate(setup.val_set, lambda: stop.received)
        except EvaluationInterrupted:
            return None

    def review(iteration: int, metrics: Mapping[str, float] | None) -> bool:
        stops = metrics is None
        if metrics is not None:
            with job.whole_model() as model:
                if shown > 0:
                    draw_predictions(model, setup.val_set, folder, iteration=iteration, count=shown)
            stops = job.best(iteration, metrics)
        if stops or checkpoint.saved_iteration == iteration:
            checkpoint.save_now(iteration)  # with what the evaluation has changed
        return stops

    checkpoint = PeriodicCheckpoint(
        job.save,
        period=options.checkpoint_period,
        minutes=options.checkpoint_minutes,
        agree_period=options.log_period,
        keep=options.checkpoints_kept,
    )
    batches = _train_batches(job.config, setup.train_set, job.seed, start)
    if shown > 0:
        batches = drawn_batches(
            batches, folder, class_names=job.model.info.class_names, start=start, count=shown
        )
    with (
        open_writers(
            output, start_iteration=start, trackers=options.trackers, settings=job.config.to_dict()
        ) as writers,
        stop,
        ProgressBar(start_iteration=start, max_iteration=job.last) as bar,
    ):
        evaluation = PeriodicEvaluation(
            evaluate, writers=writers, period=options.eval_period, review=review
        )
        callbacks: list[Callback] = [
            stop,
            *([] if job.average is None else [job.average]),
            MetricsLogger(
                [*writers, bar], period=options.log_period, device=job.accelerator.device
            ),
            bar,
            NonFiniteGuard(
                output / "nonfinite.jsonl", limit=NONFINITE_LIMIT, period=options.log_period
            ),
            checkpoint,  # before the evaluation: whatever happens in there, the steps are kept
            evaluation,
        ]
        pending = start > job.best.iteration and evaluation.is_due(start, job.last)
        stopped = pending and evaluation.run(start)  # the run may have ended before it
        if not stopped:
            _loop(job, batches, start=start, stop=job.last, callbacks=callbacks)
        if start >= job.last and not evaluation.results and options.eval_period >= 0:
            evaluation.results = evaluate() or {}  # all was done before
        interrupted = stop.agree()
    if interrupted:
        raise TrainingInterrupted(
            f"training was interrupted; --resume goes on from the last checkpoint in {output}"
        )
    return evaluation.results


def _loop(
    job: Job, batches: Iterator[Batch], *, start: int, stop: int, callbacks: Sequence[Callback]
) -> None:
    train_loop(
        job.prepared,
        job.optimizer,
        job.schedule,
        batches,
        accelerator=job.accelerator,
        scaler=job.scaler,
        precision=job.precision,
        start_iteration=start,
        max_iteration=stop,
        accumulation_steps=job.config.run.accumulation_steps,
        clip=build_clip(job.config),
        callbacks=callbacks,
    )


def _train_batches(
    config: Config, dataset: DetectionDataset, seed: int, start: int
) -> Iterator[Batch]:
    processes, parts = distributed.world_size(), config.run.accumulation_steps
    if parts < 1 or config.run.ims_per_batch % (processes * parts):
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH {config.run.ims_per_batch} cannot be shared evenly: it must be a multiple of "
            f"{processes} processes x {parts} SOLVER.ACCUMULATION_STEPS"
        )
    return train_batches(
        dataset,
        build_train_transform(config),
        build_sampler(config, dataset, seed),
        mixing=build_mixing(config),
        batch_size=config.run.ims_per_batch // (processes * parts),
        num_workers=config.loader.num_workers,
        start_step=start * parts,
        aspect_ratio_grouping=config.loader.aspect_ratio_grouping,
        rank=distributed.rank(),
        world_size=processes,
    )


def _require_writable(output: Path) -> None:
    """Finds out before the data are read, and writes nothing for it."""
    existing = next(path for path in (output, *output.absolute().parents) if os.path.exists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        reason = "cannot be written" if existing.is_dir() else "is no folder"
        raise ConfigError(
            f"--output-dir {output} cannot be used: {existing} {reason}; choose another one"
        )


def _choose_seed(seed: int) -> int:
    if seed < 0:
        seed = distributed.gather_objects(int(torch.seed() % 2**31))[0]
        logger.info("seed %d", seed)
    return seed
