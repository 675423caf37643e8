"""Build the data pipeline from a config: transforms, mixing, samplers, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

from centernet2 import distributed
from centernet2.config import Config, ConfigError, one_of
from centernet2.data import (
    CopyPaste,
    DetectionDataset,
    EfficientDetResizeCrop,
    LargeScaleJitter,
    Mixer,
    Mixing,
    MixtureSampler,
    MixUp,
    Mosaic,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    RepeatFactorSampler,
    ResizeShortestEdge,
    Sampler,
    ShuffledSampler,
    TrainTransform,
    Transform,
    WeightedSampler,
    class_aware_weights,
    repeat_factors,
    train_batches,
)
from centernet2.images.resize import EvalTransform, make_test_resize
from centernet2.structures import Batch, TestSize

FLIPS: tuple[Literal["horizontal", "vertical", "none"], ...] = ("horizontal", "vertical", "none")
SAMPLINGS: tuple[Literal["choice", "range", "batch"], ...] = ("choice", "range", "batch")
SCALE_JITTERS: dict[str, type[EfficientDetResizeCrop] | type[LargeScaleJitter]] = {
    "EfficientDetResizeCrop": EfficientDetResizeCrop,
    "LargeScaleJitter": LargeScaleJitter,
}
AUGMENTATIONS = ("", "ResizeShortestEdge", *SCALE_JITTERS)
INPUT_TYPES: tuple[Literal["default", "square"], ...] = ("default", "square")
CROPS: tuple[Literal["relative", "relative_range", "absolute", "absolute_range"], ...] = (
    "relative", "relative_range", "absolute", "absolute_range",
)  # fmt: skip
SAMPLERS = ("TrainingSampler", "RepeatFactorTrainingSampler", "ClassAwareSampler")


def build_train_transform(config: Config) -> TrainTransform:
    """Build the resizing and augmentation of training images."""
    a = config.augmentation
    kind = one_of(a.custom_aug, AUGMENTATIONS, "INPUT.CUSTOM_AUG")
    steps: list[Transform] = [PhotometricDistortion()] if a.photometric_distortion else []
    if kind in SCALE_JITTERS:
        scales = (a.scale_range[0], a.scale_range[1])
        jitter = SCALE_JITTERS[kind](size=a.train_size, scale_range=scales)
        return TrainTransform(steps=(*steps, jitter, *_flips(config)))
    if a.crop_enabled:
        steps.append(
            RandomCrop(
                kind=one_of(a.crop_type, CROPS, "INPUT.CROP.TYPE"),
                size=(a.crop_size[0], a.crop_size[1]),
            )
        )
    sampling = one_of(a.min_size_train_sampling, SAMPLINGS, "INPUT.MIN_SIZE_TRAIN_SAMPLING")
    steps.append(
        ResizeShortestEdge(lengths=a.min_size_train, max_size=a.max_size_train, sampling=sampling)
    )
    return TrainTransform(steps=(*steps, *_flips(config)))


def _flips(config: Config) -> list[Transform]:
    direction = one_of(config.augmentation.random_flip, FLIPS, "INPUT.RANDOM_FLIP")
    return [] if direction == "none" else [RandomFlip(direction=direction)]


def build_mixing(config: Config) -> Mixing | None:
    """Build the augmentations that combine several images; None: there are none."""
    a = config.augmentation
    before = (Mosaic(size=a.mosaic_size, probability=a.mosaic),) if a.mosaic > 0 else ()
    after: tuple[Mixer, ...] = (CopyPaste(probability=a.copy_paste),) if a.copy_paste > 0 else ()
    after += (MixUp(probability=a.mixup),) if a.mixup > 0 else ()
    return Mixing(before=before, after=after) if before or after else None


def needs_masks(config: Config) -> bool:
    """Whether training reads the masks of objects."""
    return config.model.mask_on or config.augmentation.copy_paste > 0


def test_size_of(config: Config) -> TestSize:
    """Return the size to which images are resized for inference."""
    a = config.augmentation
    if one_of(a.test_input_type, INPUT_TYPES, "INPUT.TEST_INPUT_TYPE") == "square":
        return TestSize("square", a.test_size)
    return TestSize("shortest_edge", a.min_size_test, a.max_size_test)


def build_test_transform(config: Config) -> EvalTransform:
    """Build the resizing of images for inference."""
    return make_test_resize(test_size_of(config))


def fixed_sizes(config: Config, divisibility: int) -> list[tuple[int, int]]:
    """Return the sizes (height, width) to which batches are padded with static shapes.

    They are multiples of `divisibility`, for batches of wide, tall and mixed images, in training
    and in inference.
    """
    a = config.augmentation
    edges = [(max(a.min_size_train), a.max_size_train)]
    if a.custom_aug in SCALE_JITTERS:
        edges = [(a.train_size, a.train_size)]
    if a.test_input_type == "square":
        edges.append((a.test_size, a.test_size))
    elif a.min_size_test > 0:
        edges.append((a.min_size_test, a.max_size_test))
    sizes = set()
    for short, long in edges:
        short, long = (-(-min(edge, long) // divisibility) * divisibility for edge in (short, long))
        sizes |= {(short, long), (long, short), (long, long)}
    return sorted(sizes)


def build_sampler(config: Config, dataset: DetectionDataset, seed: int) -> Sampler:
    """Build the sampler of training images."""
    whole, ratios = _sampler_of_all(config, dataset, seed), config.loader.dataset_ratio
    if not ratios:
        return whole
    names = dataset.source_names or (dataset.name,)
    if len(ratios) != len(names):
        raise ConfigError(
            f"DATALOADER.DATASET_RATIO is {ratios}; give a number for each of the {len(names)} "
            "data sets"
        )
    sources = torch.zeros(len(dataset)).long()
    if dataset.sources is not None:
        sources = torch.from_numpy(dataset.sources)
    for name, images in zip(names, sources.bincount(minlength=len(names)), strict=True):
        if not images:
            raise ConfigError(
                f"{name} has no image with objects, so none can be drawn at its ratio of "
                "DATALOADER.DATASET_RATIO; leave this data set and its ratio out"
            )
    return MixtureSampler(whole, sources, ratios)


def _sampler_of_all(config: Config, dataset: DetectionDataset, seed: int) -> Sampler:
    options = config.loader
    kind = one_of(options.sampler, SAMPLERS, "DATALOADER.SAMPLER_TRAIN")
    if kind == "TrainingSampler":
        return ShuffledSampler(len(dataset), seed=seed)
    if kind == "RepeatFactorTrainingSampler":
        factors = repeat_factors(
            dataset, threshold=options.repeat_threshold, sqrt=options.repeat_sqrt
        )
        return RepeatFactorSampler(factors, seed=seed)
    return WeightedSampler(class_aware_weights(dataset), seed=seed)


def build_train_batches(
    config: Config, dataset: DetectionDataset, *, start: int
) -> Iterator[Batch]:
    """Yield the training batches of this process, from the step after `start`."""
    options, processes = config.run, distributed.world_size()
    parts = options.accumulation_steps
    if options.ims_per_batch % (processes * parts):
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH {options.ims_per_batch} cannot be divided evenly: it must be "
            f"a multiple of {processes} processes x {parts} SOLVER.ACCUMULATION_STEPS"
        )
    return train_batches(
        dataset,
        build_train_transform(config),
        build_sampler(config, dataset, options.seed),
        mixing=build_mixing(config),
        batch_size=options.ims_per_batch // (processes * parts),
        num_workers=config.loader.num_workers,
        start_step=start * parts,
        aspect_ratio_grouping=config.loader.aspect_ratio_grouping,
        rank=distributed.rank(),
        world_size=processes,
    )
