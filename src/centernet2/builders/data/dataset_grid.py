"""Grids of pictures of data sets: original images, augmented images and heat maps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from centernet2.builders.data.data_pipeline import build_mixing, build_train_transform
from centernet2.config import Config
from centernet2.data import DetectionDataset, Sample, draw_objects, generator_of, read_indexed_image
from centernet2.images.stored_image import to_pixels
from centernet2.models.centernet.targets import (
    concatenate_objects,
    find_neighbors,
    heatmap_targets,
    make_levels,
    squared_radii,
)
from centernet2.structures import Pixels, Target
from centernet2.visualize import draw, picture_grid

COLUMNS = 4
HEAT_COLOR = (255, 40, 0)
DIMMED = 0.6  # brightness of the image under a heat map


def draw_dataset_grid(
    dataset: DetectionDataset,
    indices: Sequence[int],
    config: Config,
    *,
    seed: int,
    augmented: bool,
    heat_maps: bool,
) -> Pixels:
    """Draw images and their objects, beside each the augmented image and heat map.

    Args:
        dataset, indices: images to draw.
        config: options for augmentation and target assignment.
        seed: random seed of the augmentation.
        augmented: draw the augmented image too.
        heat_maps: draw the heat map of that image too, and the levels of its objects.
    """
    names = dataset.class_names
    pictures: list[Pixels] = []
    captions: list[str] = []
    for index in indices:
        image, target = _read(dataset, index)
        pictures.append(_draw_target(image, target, names))
        captions.append(Path(dataset.file_name(index)).name)
        if augmented:
            image, target = _augment(dataset, config, index, generator_of(seed, index))
            pictures.append(_draw_target(image, target, names))
            captions.append("augmented")
        if heat_maps:
            pictures.append(_draw_heat_map(image, target, config, names))
            captions.append("heat map and levels")
    each = 1 + augmented + heat_maps
    return picture_grid(pictures, captions, columns=max(each, COLUMNS // each * each))


def _read(dataset: DetectionDataset, index: int) -> Sample:
    return read_indexed_image(dataset, index), dataset.target(index)


def _read_any(dataset: DetectionDataset, generator: Generator) -> Sample:
    return _read(dataset, int(torch.randint(len(dataset), (1,), generator=generator)))


def _augment(dataset: DetectionDataset, config: Config, index: int, generator: Generator) -> Sample:
    transform, mixing = build_train_transform(config), build_mixing(config)
    sample = _read(dataset, index)
    if mixing is None:
        return transform(*sample, generator)
    return mixing(sample, partial(_read_any, dataset, generator), transform, generator)


def _draw_target(image: Tensor, target: Target, class_names: Sequence[str]) -> Pixels:
    shown: Target = {"boxes": target["boxes"], "labels": target["labels"]}
    if "masks" in target:
        shown["masks"] = target["masks"]
    elif "polygons" in target:
        shown["masks"] = draw_objects(target["polygons"], (image.shape[1], image.shape[2]))
    return draw(to_pixels(image), shown, class_names)


def _draw_heat_map(
    image: Tensor, target: Target, config: Config, class_names: Sequence[str]
) -> Pixels:
    """Draw the heat map of the finest level and the levels of each object."""
    options, strides = config.assigner, config.centernet.strides
    height, width = image.shape[1:]
    shapes = [(-(-height // stride), -(-width // stride)) for stride in strides]
    ranges = [(float(low), float(high)) for low, high in options.sizes_of_interest]
    levels = make_levels(shapes, strides, ranges, 1)
    objects = concatenate_objects([target], torch.device("cpu"))
    radii = squared_radii(objects.boxes, options.min_iou, options.min_radius)
    all_levels = heatmap_targets(objects, levels, 1, None, radii)[:, 0]  # [M]
    rows, columns = shapes[0]
    finest = all_levels[: rows * columns].view(1, 1, rows, columns)  # all levels have equal peaks
    heat = interpolate(finest, scale_factor=strides[0], mode="nearest")[0, 0, :height, :width]
    gray = image.float().mean(dim=0) * DIMMED
    color = torch.tensor(HEAT_COLOR, dtype=torch.float32)[:, None, None]
    blended = (gray + heat * (color - gray)).round().to(torch.uint8)
    assigned = find_neighbors(objects, levels).assigned  # [G, L]
    names = []
    for label, row in zip(objects.labels.tolist(), assigned.tolist(), strict=True):
        own = [name for name, on in zip(config.centernet.in_features, row, strict=True) if on]
        names.append(f"{class_names[label]} {'+'.join(own)}")
    shown = {"boxes": objects.boxes, "labels": torch.arange(len(names))}
    return draw(to_pixels(blended), shown, names)
