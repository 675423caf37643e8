"""Set up a training run: data, device, start, model and state, in this order."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from centernet2.builders.detector.image_counts import image_counts_of_data
from centernet2.builders.detector.loading import device_for
from centernet2.builders.detector.network import build_detector
from centernet2.builders.training.config_completion import choose_seed, fit_to_data
from centernet2.builders.training.kept_classes import label_kept_classes
from centernet2.builders.training.missing_run import explain_missing_run
from centernet2.builders.training.parallel import may_have_unused_parameters, prepare_for_training
from centernet2.builders.training.solver import build_run_state, choose_precision
from centernet2.builders.training.train_command import TrainCommand
from centernet2.builders.training.training_data import TrainingSets, find_training_data
from centernet2.builders.training.training_origin import describe_origin
from centernet2.builders.training.training_run import TrainingRun
from centernet2.builders.training.training_start import (
    Resume,
    choose_start,
    fit_to_start,
    in_classes_of,
    load_start,
    resumed_origin,
    same_seed,
)
from centernet2.config import Config
from centernet2.data import DetectionDataset, check_before_training
from centernet2.devices import create_accelerator
from centernet2.models.detector import Detector


def set_up(
    command: TrainCommand,
    previous: TrainCommand | None,
    output: Path,
    *,
    resume: bool,
    started: float,
    sets: TrainingSets | None = None,
) -> TrainingRun:
    """Build all parts of a training run, in order.

    Args:
        command: what is given, with what the run to resume was started with.
        previous: the latter alone; None: there is none.
        output: output folder.
        resume: continue from the last checkpoint, if there is one.
        started: value of time.monotonic() at the start of the command.
        sets: the data, if a plan has read them.
    """
    given = command.config
    with explain_missing_run(output) if resume and previous is None else nullcontext():
        train_set, val_set = sets or find_training_data(given, command.data, command.data_path)
    accelerator = create_accelerator(
        device_for(given, command.device), find_unused_parameters=may_have_unused_parameters(given)
    )
    start = choose_start(given, output, weights=command.weights, resume=resume)
    train_set = in_classes_of(start, train_set)
    train_set = _check_images(train_set, val_set if given.run.eval_period >= 0 else None)
    train_set = label_kept_classes(train_set, given, command)
    command = command.with_val_images(val_set, resumed=isinstance(start, Resume))
    config = choose_seed(fit_to_start(fit_to_data(given, train_set), start))
    torch.manual_seed(config.run.seed)
    model = _build_model(config, train_set)
    changes = command.changes_from(previous) if previous is not None else ()
    load_start(model, config, start, changes=changes)
    device, by_split = accelerator.device, {"train": train_set, "val": val_set}
    origin = describe_origin(command, config, by_split, model, device)
    # A resumed run has loaded the weights above. Once they are on their device, it restores the
    # state of optimizer, schedule, loss scaler, averaged weights, best result and random numbers.
    # The order of the data depends only on seed and step.
    prepared = prepare_for_training(config, model, accelerator)
    precision = choose_precision(device, amp=config.run.amp, dtype=config.run.amp_dtype)
    state = build_run_state(config, model, device, precision, started=started, output=output)
    state.origin = resumed_origin(origin, start) if isinstance(start, Resume) else origin
    if model.roi_heads is not None:
        model.roi_heads.generator = state.generator
    if isinstance(start, Resume):
        state.restore(start.training, same_seed=same_seed(config, start))
    return TrainingRun(
        command=command,
        config=config,
        train_set=train_set,
        val_set=val_set,
        accelerator=accelerator,
        model=model,
        prepared=prepared,
        precision=precision,
        state=state,
    )


def _build_model(config: Config, train_set: DetectionDataset) -> Detector:
    """Build a detector of the classes of the training data."""
    model = build_detector(config, image_counts=image_counts_of_data(config, train_set))
    model.info = replace(model.info, class_names=train_set.class_names)
    return model


def _check_images(
    train_set: DetectionDataset, val_set: DetectionDataset | None
) -> DetectionDataset:
    """Check the image files of both sets; mark training images that are unusable.

    Evaluations read broken validation images again, and skip them.
    """
    train_set = replace(train_set, unusable=check_before_training(train_set, "train"))
    if val_set is not None:
        check_before_training(val_set, "val")
    return train_set
