"""The main jobs from settings to results: build, train, evaluate, predict."""

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from centernet2 import distributed
from centernet2.build import (
    build_clip,
    build_detector,
    build_multiplier,
    build_sampler,
    build_test_transform,
    build_train_transform,
)
from centernet2.checkpoint.load import load_state, load_weights
from centernet2.checkpoint.save import last_checkpoint, load_checkpoint, save_checkpoint
from centernet2.config import Config, ConfigError, load_config, parse_config
from centernet2.data.catalog import find_split
from centernet2.data.dataset import DetectionDataset, without_empty_images
from centernet2.data.loader import Batch, eval_batches, train_batches
from centernet2.devices import Precision, choose_device, create_accelerator, grad_scaler
from centernet2.evaluation.evaluate import evaluate as evaluate_batches
from centernet2.models.detector import Detector
from centernet2.predictor import Predictor
from centernet2.training.callbacks import NonFiniteGuard, PeriodicCheckpoint, PeriodicEvaluation, StopOnSignal
from centernet2.training.loop import train as train_loop
from centernet2.training.optim import parameter_groups, scheduler, sgd
from centernet2.training.state import Stateful, restore_training_state, training_state
from centernet2.training.writers import MetricsLogger, ProgressBar, open_writers

logger = logging.getLogger(__name__)

CLASS_KEYS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.CENTERNET.NUM_CLASSES")
StrPath = str | os.PathLike[str]


class TrainingInterrupted(Exception):
    """A signal has ended training; a checkpoint is written, and `resume` goes on from it."""


def build_model(config: Config | StrPath, *, weights: StrPath | None = None, device: str | None = "cpu") -> Detector:
    """A detector in training mode.

    Args:
        config: settings, the path of a configuration file, or the name of a packaged one.
        weights: file to fill it from (see the README for the kinds); none leaves it untrained.
        device: where to put it; None: the best there is.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    model = build_detector(settings)
    if weights is not None:
        load_weights(model, weights)
    return model.to(choose_device(device))


def load_model(
    weights: StrPath, overrides: Sequence[str] = (), *, device: str | None = "cpu"
) -> tuple[Detector, Config]:
    """The detector of one of our checkpoints, with the settings and the classes that it was trained with."""
    checkpoint = load_checkpoint(Path(weights))
    config = parse_config(checkpoint["config"], checkpoint["config_name"])
    config = config.override(overrides)
    model = build_detector(config)
    load_state(model, checkpoint["model"])
    model.class_names = tuple(checkpoint["class_names"])
    return model.to(choose_device(device)).eval(), config


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
        weights: file to start from; default: MODEL.WEIGHTS, which an address of a download leaves out.
        resume: go on from the last checkpoint of `output_dir`.
        seed: of all random numbers; default: SEED.
        device: default: the best there is.
    """
    settings = config if isinstance(config, Config) else load_config(config)
    splits = {"data": None if data is None else Path(data), "data_path": None if data_path is None else Path(data_path)}
    train_set = find_split(names=settings.datasets.train, split="train", **splits)
    val_set = find_split(names=settings.datasets.test, split="val", **splits)
    settings = with_classes(settings, train_set)
    if settings.loader.filter_empty:
        train_set = without_empty_images(train_set)
    output = Path(output_dir or settings.run.output_dir.replace("/auto", f"/{settings.name}"))
    accelerator = create_accelerator(choose_device(device))
    seed = _choose_seed(settings.run.seed if seed is None else seed)
    torch.manual_seed(seed)

    model = build_detector(settings)
    model.class_names = train_set.class_names
    found = last_checkpoint(output) if resume else None
    if found is not None:
        load_state(model, found[1]["model"])
        logger.info("resuming from %s", found[0])
    else:
        _load_initial_weights(model, weights, settings.model.weights)
    prepared = accelerator.prepare(model)
    optimizer = _build_optimizer(settings, model)
    schedule = scheduler(optimizer, build_multiplier(settings))
    precision: Precision = "bf16" if settings.run.amp else "fp32"
    scaler = grad_scaler(accelerator.device, precision)
    generator = torch.Generator(accelerator.device).manual_seed(seed + distributed.rank())
    if model.roi_heads is not None:
        model.roi_heads.generator = generator
    parts: dict[str, Stateful] = {"optimizer": optimizer, "scheduler": schedule, "scaler": scaler}
    start = restore_training_state(found[1]["training"], parts, [generator]) if found else 0
    last = settings.schedule.max_iter if settings.run.train_iter < 0 else settings.run.train_iter

    output.mkdir(parents=True, exist_ok=True)
    if distributed.is_main_process():
        (output / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    write = partial(
        save_checkpoint,
        model=model,
        config=settings.to_yaml(),
        config_name=settings.name,
        class_names=model.class_names,
    )

    def save(iteration: int) -> Path:
        path, training = output / f"model_{iteration:07d}.pth", training_state(iteration, parts, [generator])
        if distributed.is_main_process():
            write(path, iteration=iteration, metrics={}, training=training)
        return path

    batches = _train_batches(settings, train_set, seed, start)
    with (
        open_writers(output, start_iteration=start) as writers,
        StopOnSignal(period=settings.run.log_period) as stop,
        ProgressBar(start_iteration=start, max_iteration=last) as bar,
    ):
        evaluation = PeriodicEvaluation(
            partial(_evaluate, model, val_set, settings, output / "eval"),
            writers=writers,
            period=settings.run.eval_period,
        )
        train_loop(
            prepared, optimizer, schedule, batches,
            accelerator=accelerator, scaler=scaler, precision=precision, start_iteration=start, max_iteration=last,
            accumulation_steps=1, clip=build_clip(settings),
            callbacks=[
                stop,
                MetricsLogger([*writers, bar], period=settings.run.log_period, device=accelerator.device),
                bar,
                NonFiniteGuard(output / "nonfinite.jsonl", limit=20, period=settings.run.log_period),
                evaluation,
                PeriodicCheckpoint(save, period=settings.run.checkpoint_period, keep=settings.run.checkpoints_kept),
            ],
        )  # fmt: skip
        if start >= last:  # nothing was left to train
            evaluation.results = _evaluate(model, val_set, settings, output / "eval")
    if stop.received:
        raise TrainingInterrupted(f"training was interrupted; --resume goes on from the last checkpoint in {output}")
    if distributed.is_main_process():
        write(output / "model_final.pth", iteration=last, metrics=evaluation.results, training=None)
    distributed.shut_down()
    return evaluation.results


def evaluate(
    model: Detector,
    *,
    data: StrPath | None = None,
    data_path: StrPath | None = None,
    config: Config | StrPath | None = None,
    output_dir: StrPath | None = None,
) -> dict[str, float]:
    """COCO figures of a detector on validation images, {"bbox/AP": per cent, ...}.

    Args:
        model: as `build_model` or `load_model` gives it.
        data, data_path: as for `train`.
        config: settings of sizes, batches and data sets; default: those that the model was built with.
        output_dir: receives predictions.json and metrics.json.
    """
    settings = _settings_of(model) if config is None else config
    settings = settings if isinstance(settings, Config) else load_config(settings)
    dataset = find_split(
        data=None if data is None else Path(data),
        data_path=None if data_path is None else Path(data_path),
        names=settings.datasets.test,
        split="val",
    )
    with_classes(settings, dataset)
    return _evaluate(model, dataset, settings, None if output_dir is None else Path(output_dir))


def load_predictor(weights: StrPath, overrides: Sequence[str] = (), *, device: str | None = None) -> Predictor:
    """A predictor from one of our checkpoints alone."""
    return Predictor(load_model(weights, overrides, device=device)[0])


def _settings_of(model: Detector) -> Config:
    if not isinstance(model.settings, Config):
        raise ConfigError("the model was not made by build_model: pass the settings to use as `config`")
    return model.settings


def with_classes(config: Config, dataset: DetectionDataset) -> Config:
    """The settings with the data set's number of classes; settings that state another number are refused."""
    count = len(dataset.class_names)
    for key in CLASS_KEYS:
        if key in config.stated and config[key] != count:
            raise ConfigError(
                f"{key} is {config[key]}, but {dataset.name} has {count} classes; "
                "leave the option out to take the data's"
            )
    return config.replace(dict.fromkeys(CLASS_KEYS, count))


def _evaluate(model: Detector, dataset: DetectionDataset, config: Config, output: Path | None) -> dict[str, float]:
    batches = eval_batches(
        dataset,
        build_test_transform(config),
        batch_size=config.run.test_batch_size,
        num_workers=config.loader.num_workers,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
    )
    limit = config.centernet.post_nms_topk_test if model.roi_heads is None else config.roi_heads.detections_per_image
    return evaluate_batches(model, dataset, batches, max_detections=limit, output_dir=output)


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


def _build_optimizer(config: Config, model: Detector) -> torch.optim.Optimizer:
    o = config.optimizer
    groups = parameter_groups(
        model,
        base_lr=o.base_lr,
        weight_decay=o.weight_decay,
        weight_decay_norm=o.weight_decay if o.weight_decay_norm is None else o.weight_decay_norm,
        bias_lr_factor=o.bias_lr_factor,
        weight_decay_bias=o.weight_decay_bias,
    )
    return sgd(groups, lr=o.base_lr, momentum=o.momentum, nesterov=o.nesterov)


def _load_initial_weights(model: Detector, given: StrPath | None, configured: str) -> None:
    if given is not None or (configured and "://" not in configured):
        load_weights(model, given or configured)
    elif configured:
        logger.warning(
            "MODEL.WEIGHTS %s is not downloaded; give a file with --weights. Training from scratch.", configured
        )


def _choose_seed(seed: int) -> int:
    if seed < 0:
        seed = distributed.gather_objects(int(torch.seed() % 2**31))[0]
        logger.info("seed %d", seed)
    return seed
