"""Plan the options of `centernet2 train DATA` for the data, device and time."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch

from centernet2 import distributed
from centernet2.builders.data.data_statistics import DataStatistics, data_statistics
from centernet2.builders.detector.initial_weights import (
    find_weights,
    named_weights,
    read_timm_weights,
)
from centernet2.builders.detector.loading import config_of, device_for, set_num_classes
from centernet2.builders.detector.packaged_weights import packaged_file
from centernet2.builders.training.batch_statistics import LEAST_BATCH
from centernet2.builders.training.config_completion import count_in_iterations
from centernet2.builders.training.step_probe import largest_batch, measure_step
from centernet2.builders.training.train_command import TrainCommand
from centernet2.builders.training.training_data import TrainingSets, find_training_data
from centernet2.checkpoint import WeightsError, read_weights
from centernet2.config import CLASS_KEYS, Config, ConfigError, load_config
from centernet2.data.class_names import shown
from centernet2.data.readers import find_dataset
from centernet2.devices import create_accelerator
from centernet2.kernels import is_bf16_fast
from centernet2.structures import StrPath

logger = logging.getLogger(__name__)

LITE = "CenterNet2_Lite_N", "CenterNet2_Lite_S", "CenterNet2_Lite_M"  # from small to large
FROM_SCRATCH = "CenterNet2_R18_small"
NETWORK_KEYS = ("MODEL.", "INPUT.")  # of a detector to start from
RUN_KEYS = (*CLASS_KEYS, "MODEL.WEIGHTS", "MODEL.TIMM.PRETRAINED", "MODEL.DEVICE")  # but for these


@dataclass(frozen=True)
class Effort:
    """How much a plan spends."""

    minutes: float
    on_cpu: str  # config without an accelerator
    on_accelerator: str
    epochs: int  # at most, unless the images are few


EFFORTS = {
    "quick": Effort(5, LITE[0], LITE[1], epochs=50),
    "normal": Effort(20, LITE[0], LITE[2], epochs=100),
    "best": Effort(120, LITE[2], LITE[2], epochs=200),
}
VAL_FRACTION = 0.2
SHORTEST, LONGEST, SIDE_STEP = 256, 640, 64  # of the shorter side of an image; the neck pads to 64
LARGEST_RATIO = 2.0  # of the sides, beyond which images become smaller
OBJECT_SIDE = 28  # pixels that nine of ten objects exceed, if images of these sizes allow it
SIZE = "image size"  # how its line begins
SCALES = (0.8, 0.9, 1.0, 1.1, 1.2)  # of training images
CPU_BATCH, ACCELERATOR_BATCH = 4, 32
BATCHES_PER_EPOCH = 4  # at least
RATE, RATE_BATCH = 0.001, 4  # learning rate of AdamW for a batch size
LEAST_ITERATIONS = 2000  # of the schedule, however few the images are
LEAST_VIEWS = 1000  # images, with repetitions, for which images are made smaller
WARM_UP = 0.03  # of the schedule
EVALUATIONS, EVALUATION_SHARE = 5, 0.08  # number at most, and share of the time
INFERENCE_COST = 0.6  # of an image, relative to its training
PATIENCE = 3  # evaluations
CHECKPOINT_MINUTES = 2.0
FEW_IMAGES = 100  # for which colors are changed, too


@dataclass
class TrainingPlan:
    """A config, and what was chosen in it for which reason."""

    base: Config  # which the choices begin with
    given: Mapping[str, Any]  # options of the user, which stay
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = self.base.replace(self.given)

    def choose(self, what: str, values: Mapping[str, Any], reason: str) -> None:
        """Set options that the user has not set, and note the reason."""
        taken = [key for key in values if key in self.given]
        self.config = self.config.replace({k: v for k, v in values.items() if k not in taken})
        if values and len(taken) == len(values):
            self.reasons.append(f"{', '.join(taken)}: as given")
            return
        note = f" ({', '.join(taken)} as given)" if taken else ""
        self.reasons.append(f"{what}: {reason}{note}")


def plan_training(
    command: TrainCommand, *, effort: str, started: float
) -> tuple[TrainCommand, TrainingSets]:
    """Choose a config for the data of a command that names none.

    Args:
        command: if it names weights, their config is the base of the plan.
        effort: a key of EFFORTS.
        started: value of time.monotonic() at the start of the command.

    Returns:
        The command with that config in place of a config file, and the reasons; the data.
    """
    data, data_path, given = command.data, command.data_path, command.overrides
    level, weights = EFFORTS[effort], named_weights(Config().replace(given), command.weights)
    place = device_for(Config().replace(given), command.device)
    create_accelerator(place, find_unused_parameters=True)  # joins the other processes
    plan = _choose_model(given, weights, level, place)
    minutes = f"--effort {effort} takes {level.minutes:g} minutes; --minutes sets another time"
    plan.choose("time", {"SOLVER.MAX_MINUTES": float(level.minutes)}, minutes)
    _choose_validation(plan, (data,) if data else plan.config.datasets.train, data_path)
    train_set, val_set = find_training_data(plan.config, data, data_path)
    statistics = data_statistics(train_set)
    plan.reasons.insert(0, f"data: {statistics.sentence()}")
    side = _given_side(given)
    is_sized = weights is None and side is None
    if side:
        _set_size(plan, statistics, side, "as given")
    elif is_sized:
        _choose_size(plan, statistics)
    _choose_for_objects(plan, statistics)
    _choose_batch(plan, statistics, place)
    logger.info("measuring the memory and the time of a training step")
    if "SOLVER.IMS_PER_BATCH" not in given:
        batch = largest_batch(plan.config, train_set, place)
        reason = f"it suffices for batches of {batch} images"
        plan.choose("memory", {"SOLVER.IMS_PER_BATCH": batch}, reason)
    from_scratch = weights is None and plan.config.name == FROM_SCRATCH
    _choose_optimizer(plan, statistics, from_scratch=from_scratch)
    _choose_length(plan, statistics, level)
    pace = measure_step(plan.config, train_set, place)
    seconds = _seconds_left(plan.config, pace=pace, started=started)
    if is_sized and plan.config.run.max_minutes > 0:
        pace *= _shrink_images(plan, statistics, steps=seconds / pace)
    _choose_evaluations(plan, statistics, len(val_set), pace=pace, seconds=seconds)
    config = set_num_classes(plan.config, statistics.classes, owner=train_set.name)
    chosen = {key: config[key] for key in config.stated}
    planned = replace(command, config_name=config.name, file=chosen, reasons=tuple(plan.reasons))
    return planned, (train_set, val_set)


def _seconds_left(config: Config, *, pace: float, started: float) -> float:
    """Return the seconds to train and evaluate; without a limit, the schedule's."""
    if config.run.max_minutes == 0:
        return pace * config.schedule.max_iter / (1 - EVALUATION_SHARE)
    left = 60 * config.run.max_minutes - (time.monotonic() - started)
    return max(0.0, distributed.gather_objects(left)[0])  # the run refuses a time that is too short


def _choose_model(
    given: Mapping[str, Any], weights: StrPath | None, level: Effort, device: torch.device
) -> TrainingPlan:
    """Choose the base config of the weights, or of a Lite model with weights at hand."""
    if weights is not None:
        checkpoint = read_weights(find_weights(weights)).checkpoint
        if checkpoint is None:
            raise ConfigError(
                f"{weights} has no config of its own, so `centernet2 train DATA` cannot plan with "
                "it; give the --config-file of these weights"
            )
        plan = TrainingPlan(_with_network_of(config_of(checkpoint.info)), given)
        plan.choose("model", {}, f"{plan.config.name}, of {weights}")
        return plan
    wanted = level.on_cpu if device.type == "cpu" else level.on_accelerator
    candidates = reversed(LITE[: LITE.index(wanted) + 1])
    packaged = (n for n in candidates if packaged_file(load_config(n).backbone.timm.name))
    name = next(packaged, None)
    reason = f"{name}, the largest up to {wanted} whose ImageNet weights are installed"
    if name is None:
        name, reason = _find_online(wanted)
    plan = TrainingPlan(load_config(name), given)
    plan.choose("model", {}, f"{reason}; on {device}")
    return plan


def _with_network_of(trained: Config) -> Config:
    """Return the options of a Lite model with another's network and image sizes."""
    kept = (key for key in trained.stated if key.startswith(NETWORK_KEYS))
    values = {key: trained[key] for key in kept if key not in RUN_KEYS}
    return replace(load_config(LITE[0]).replace(values), name=trained.name)


def _find_online(wanted: str) -> tuple[str, str]:
    """Return a Lite model whose weights timm can download, or one for random weights."""
    try:
        read_timm_weights(load_config(wanted).backbone.timm.name)
        return wanted, f"{wanted}, with timm's ImageNet weights"
    except WeightsError:
        install = "`pip install 'centernet2[pretrained]'` makes it more accurate"
        logger.warning(
            "no ImageNet weights were found, so training starts from scratch; %s", install
        )
        return FROM_SCRATCH, f"{FROM_SCRATCH}, from scratch, as no ImageNet weights are here"


def _choose_validation(plan: TrainingPlan, data: Sequence[str], data_path: StrPath | None) -> None:
    """Set images apart for validation if one of the data sets has no such split."""
    if all("val" in find_dataset(each, data_path) for each in data):
        return
    plan.choose(
        "validation",
        {"DATASETS.VAL_FRACTION": VAL_FRACTION},
        f"the data have no validation split, so {VAL_FRACTION:.0%} of the images, drawn at random, "
        "are kept for it; --val-fraction sets another share",
    )


def _given_side(given: Mapping[str, Any]) -> int | None:
    """Return the shorter image side that the user set; 0: not resized; None: not set."""
    side: int | None = given.get("INPUT.MIN_SIZE_TEST")
    trained: tuple[int, ...] = given.get("INPUT.MIN_SIZE_TRAIN", ())
    return round(median(trained)) if side is None and trained else side


def _choose_size(plan: TrainingPlan, statistics: DataStatistics) -> None:
    """Choose the size of images from that of small objects."""
    wanted = OBJECT_SIDE / statistics.small_share
    largest = max(SHORTEST, min(LONGEST, SIDE_STEP * int(statistics.short_side / SIDE_STEP)))
    side = min(largest, max(SHORTEST, _rounded(wanted)))
    pixels = statistics.small_share * side
    _set_size(plan, statistics, side, f"nine of ten objects then have {pixels:.0f} pixels or more")


def _set_size(plan: TrainingPlan, statistics: DataStatistics, side: int, reason: str) -> None:
    """Set the shorter side of images, and what is proportional to it."""
    ratio = min(LARGEST_RATIO, statistics.aspect_ratio)
    longest = max(side, _rounded(side * ratio + 0.4 * SIDE_STEP))
    before, intervals = plan.base.augmentation.min_size_test or side, plan.base.assigner
    starts, ends = zip(*intervals.sizes_of_interest, strict=True)
    scaled = [round(end * side / before) for end in (*starts, *ends[:-1])]
    chosen = tuple(round(scale * side) for scale in SCALES)
    sides = plan.given.get("INPUT.MIN_SIZE_TRAIN", chosen)
    earlier = [i for i, line in enumerate(plan.reasons) if line.startswith(SIZE)]
    plan.choose(
        f"{SIZE} {side}",
        {
            "INPUT.MIN_SIZE_TRAIN": sides,
            "INPUT.MIN_SIZE_TRAIN_SAMPLING": "batch",
            "INPUT.MAX_SIZE_TRAIN": round(longest * max(sides) / side),
            "INPUT.MIN_SIZE_TEST": side,
            "INPUT.MAX_SIZE_TEST": longest,
            "MODEL.CENTERNET.SOI": tuple(
                zip(scaled[: len(starts)], (*scaled[len(starts) :], ends[-1]), strict=True)
            ),
        },
        f"{reason}; batches of one size, from {min(sides)} to {max(sides)}",
    )
    for place in earlier:  # of a size that has become smaller
        plan.reasons[place] = plan.reasons.pop()


def _shrink_images(plan: TrainingPlan, statistics: DataStatistics, *, steps: float) -> float:
    """Shrink images if time is short; return the factor of the time per step."""
    views = steps * plan.config.run.ims_per_batch
    before = plan.config.augmentation.min_size_test
    side = max(SHORTEST, _rounded(before * math.sqrt(views / LEAST_VIEWS)))
    if views >= LEAST_VIEWS or side >= before:
        return 1.0
    reason = (
        f"at {before}, nine of ten objects have {statistics.small_share * before:.0f} pixels or "
        f"more, but there is only time for {views:.0f} images, with repetitions"
    )
    _set_size(plan, statistics, side, reason)
    return (side / before) ** 2


def _choose_for_objects(plan: TrainingPlan, statistics: DataStatistics) -> None:
    """Raise the numbers of proposals and detections for crowded images."""
    decoder, selection = plan.config.decoder, plan.config.selection
    detections = max(selection.detections_per_image, math.ceil(1.5 * statistics.most_objects))
    values = {
        "TEST.DETECTIONS_PER_IMAGE": detections,
        "MODEL.CENTERNET.POST_NMS_TOPK_TEST": max(decoder.inference.post_nms_topk, detections),
        "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN": max(decoder.training.post_nms_topk, 2 * detections),
    }
    reason = f"an image has up to {statistics.most_objects} objects"
    plan.choose(f"up to {detections} detections", values, reason)


def _choose_batch(plan: TrainingPlan, statistics: DataStatistics, device: torch.device) -> None:
    """Choose the batch size, workers and precision for the device."""
    processes, cores = distributed.world_size(), os.cpu_count() or 1
    on_cpu = device.type == "cpu"
    limit = (CPU_BATCH if on_cpu else ACCELERATOR_BATCH) * processes
    batch = min(limit, max(LEAST_BATCH, statistics.images // BATCHES_PER_EPOCH))
    batch = max(processes, batch // processes * processes)
    batch = plan.given.get("SOLVER.IMS_PER_BATCH", batch)
    values: dict[str, Any] = {
        "SOLVER.IMS_PER_BATCH": batch,
        "DATALOADER.NUM_WORKERS": min(1 if on_cpu else 8, cores // 2),
    }
    if not on_cpu:
        values |= {"SOLVER.AMP.ENABLED": True}
        values |= {"SOLVER.AMP.DTYPE": "bf16" if is_bf16_fast(device) else "fp16"}
    reason = "few images per step give many steps" if on_cpu else "in mixed precision"
    plan.choose(f"batch of {batch} images on {device}", values, reason)
    if on_cpu:
        _choose_memory(plan)


def _choose_memory(plan: TrainingPlan) -> None:
    """Choose how feature maps lie in the memory of a CPU."""
    values, reason = {"SOLVER.KEEP_FREED_MEMORY": True}, "kept for the next step, which saves time"
    # batch statistics of channels_last maps are too inexact for a whole backbone
    if plan.config.backbone.resnet.norm == "FrozenBN" and not plan.config.run.fsdp:
        values["SOLVER.CHANNELS_LAST"] = True
        reason += ", as does the channels_last format"
    plan.choose("freed memory", values, reason)


def _choose_optimizer(
    plan: TrainingPlan, statistics: DataStatistics, *, from_scratch: bool
) -> None:
    """Choose the learning rate by batch size, and augmentation by image count."""
    batch = plan.config.run.ims_per_batch
    if from_scratch:
        made_for = load_config(FROM_SCRATCH)
        rate = made_for.optimizer.base_lr * batch / made_for.run.ims_per_batch
        optimizer, note = made_for.optimizer.optimizer, "from scratch"
    else:
        rate, optimizer = RATE * math.sqrt(batch / RATE_BATCH), "ADAMW"
        note = "and less in the backbone, which is trained already"
    rate = float(f"{rate:.2g}")
    plan.choose(
        f"learning rate {rate:g}",
        {"SOLVER.OPTIMIZER": optimizer, "SOLVER.BASE_LR": rate},
        f"of {optimizer} for batches of {batch}, {note}",
    )
    if statistics.images < FEW_IMAGES:
        plan.choose(
            "augmentation",
            {"INPUT.PHOTOMETRIC_DISTORTION": True},
            f"colors are changed at random, since {statistics.images} images are few; besides, "
            "images are resized at random",
        )
    if statistics.sided:
        plan.choose(
            "no flips",
            {"INPUT.RANDOM_FLIP": "none"},
            f"a mirrored image would show {shown(statistics.sided)} wrong",
        )


def _choose_length(plan: TrainingPlan, statistics: DataStatistics, level: Effort) -> None:
    """Choose the length of the schedule, which the time may shorten."""
    epoch = statistics.images / plan.config.run.ims_per_batch
    length = max(LEAST_ITERATIONS, math.ceil(level.epochs * epoch))
    length = plan.given.get("SOLVER.MAX_ITER", length)
    if plan.config.run.max_epochs > 0:  # which takes precedence
        length = count_in_iterations(plan.config, statistics.images).schedule.max_iter
    plan.choose(
        f"at most {length} iterations",
        {
            "SOLVER.MAX_ITER": length,
            "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
            "SOLVER.WARMUP_ITERS": round(WARM_UP * length),
            "SOLVER.CHECKPOINT_PERIOD": length,
            "SOLVER.CHECKPOINT_MINUTES": CHECKPOINT_MINUTES,
            "SOLVER.CHECKPOINTS_KEPT": 1,
        },
        f"{length / epoch:.0f} epochs; the learning rate decays in them or in the time, whichever "
        "is shorter",
    )


def _choose_evaluations(
    plan: TrainingPlan, statistics: DataStatistics, val_images: int, *, pace: float, seconds: float
) -> None:
    """Choose when to evaluate during the training, from the measured time of a step."""
    batch = plan.config.run.ims_per_batch
    evaluation = INFERENCE_COST * pace / batch * val_images
    number = min(EVALUATIONS, int(EVALUATION_SHARE * seconds / evaluation))
    steps = min(plan.config.schedule.max_iter, int(seconds * (1 - EVALUATION_SHARE) / pace))
    period = max(1, math.ceil(steps / (number + 1))) if number else 0
    plan.choose(
        f"{number} evaluations before the last one" if number else "one evaluation, at the end",
        {"TEST.EVAL_PERIOD": period, "TEST.PATIENCE": PATIENCE if number else 0},
        f"a step takes {pace:.2f} s here, so there is time for about {steps} steps = "
        f"{steps * batch / statistics.images:.0f} epochs; an evaluation takes about "
        f"{evaluation:.0f} s",
    )


def _rounded(side: float) -> int:
    """Round a length to a multiple of SIDE_STEP."""
    return SIDE_STEP * max(1, round(side / SIDE_STEP))
