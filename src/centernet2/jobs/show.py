"""The command `show`: images of a data set, and what training makes of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from centernet2.jobs import ConfigArgument, Flag, Overrides, PathArgument

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from centernet2.config import Config
    from centernet2.data import DetectionDataset, Sample
    from centernet2.structures import Target

logger = logging.getLogger(__name__)

COLUMNS = 4
HEAT = (255, 40, 0)


def show(
    data: PathArgument,
    *overrides: Overrides,
    data_path: PathArgument | None = None,
    output: PathArgument = Path("show.jpg"),
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    augmented: Flag = False,
    targets: Flag = False,
    config: Annotated[ConfigArgument, Parameter(name="--config-file")] = "CenterNet2_R50_1x",
) -> None:
    """Draw images of a data set with their objects on a contact sheet.

    Parameters
    ----------
    data
        Folder or annotation file in any layout, or the name of a data set, such as coco_2017.
    data_path
        The folder above a named data set.
    output
        The picture; its suffix says the format.
    split
        train or val; data without splits serve for both.
    count
        How many images.
    seed
        Which ones, and which random augmentations.
    augmented
        Beside each image, what training makes of it with this config.
    targets
        Beside that, the heat map that the first stage should predict, and the levels of the objects.
    config
        Path or name of the config that says how images are augmented.
    """
    import numpy as np
    from PIL import Image

    from centernet2.builders.loading import as_config
    from centernet2.data import read_indexed_image
    from centernet2.data.readers import ALL, find_dataset, load_split_files
    from centernet2.visualize import mosaic

    options = as_config(config).override(overrides)
    data, output = Path(data), Path(output)
    data_path = None if data_path is None else Path(data_path)
    augmented = augmented or targets
    splits = find_dataset(data, data_path)
    name = split if split in splits else ALL
    if name not in splits:
        raise ValueError(
            f"{data} has no {split} split, only {', '.join(splits)}; choose with --split"
        )
    if output.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        raise ValueError(f"--output is {output}; a picture ends in .jpg, .png or .webp")
    dataset = load_split_files(splits[name], name, data, masks=options.model.mask_on)
    order = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    pictures: list[Tensor] = []
    captions: list[str] = []
    for index in order:
        image, target = read_indexed_image(dataset, index), dataset.target(index)
        pictures.append(_drawn(image, target, dataset.class_names))
        captions.append(dataset.image_path(index).name)
        if augmented:
            image, target = _augmented(dataset, options, index, seed)
            pictures.append(_drawn(image, target, dataset.class_names))
            captions.append("as training sees it")
        if targets:
            pictures.append(_with_heat(image, target, options, dataset.class_names))
            captions.append("heat map and levels")
    step = 1 + augmented + targets
    sheet = mosaic(pictures, captions, columns=max(step, COLUMNS // step * step))
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(output, quality=90)
    logger.info("%s", output)


def _augmented(dataset: DetectionDataset, config: Config, index: int, seed: int) -> Sample:
    from centernet2.builders.pipeline import build_mixing, build_train_transform
    from centernet2.data import generator_of, read_indexed_image

    generator = generator_of(seed, index)
    transform, mixing = build_train_transform(config), build_mixing(config)
    sample = read_indexed_image(dataset, index), dataset.target(index)
    if mixing is None:
        return transform(*sample, generator)
    return mixing(sample, partial(_another, dataset, generator), transform, generator)


def _another(dataset: DetectionDataset, generator: torch.Generator) -> Sample:
    import torch

    from centernet2.data import read_indexed_image

    index = int(torch.randint(len(dataset), (1,), generator=generator))
    return read_indexed_image(dataset, index), dataset.target(index)


def _drawn(image: Tensor, target: Target, class_names: Sequence[str]) -> Tensor:
    from centernet2.data import draw_objects
    from centernet2.visualize import draw

    shown: Target = {"boxes": target["boxes"], "labels": target["labels"]}
    if "masks" in target:
        shown["masks"] = target["masks"]
    elif "polygons" in target:
        shown["masks"] = draw_objects(target["polygons"], (image.shape[1], image.shape[2]))
    return draw(image, shown, class_names)


def _with_heat(image: Tensor, target: Target, config: Config, class_names: Sequence[str]) -> Tensor:
    """The image under the heat map of its finest level, with the levels of each object (section 4.1 of the paper)."""
    import torch
    from torch.nn.functional import interpolate

    from centernet2.models.centernet.targets import (
        find_neighbors,
        gather_objects,
        heatmap_targets,
        make_levels,
        object_radii,
    )
    from centernet2.visualize import draw

    options, strides = config.assigner, config.centernet.strides
    height, width = image.shape[1:]
    shapes = [(-(-height // stride), -(-width // stride)) for stride in strides]
    ranges = [(float(low), float(high)) for low, high in options.sizes_of_interest]
    levels = make_levels(shapes, strides, ranges, 1)
    objects = gather_objects([target], torch.device("cpu"))
    radii = object_radii(objects.boxes, options.min_iou, options.min_radius)
    flat = heatmap_targets(objects, levels, 1, None, radii)[:, 0]  # [M]
    rows, columns = shapes[0]
    finest = flat[: rows * columns].view(
        1, 1, rows, columns
    )  # coarser maps show the same peaks in larger cells
    heat = interpolate(finest, scale_factor=strides[0], mode="nearest")[0, 0, :height, :width]
    grey = image.float().mean(dim=0) * 0.6
    color = torch.tensor(HEAT, dtype=torch.float32)[:, None, None]
    blended = (grey + heat * (color - grey)).round().to(torch.uint8)
    assigned = find_neighbors(objects, levels).assigned  # [G, L]
    names = [
        f"{class_names[label]} "
        f"{'+'.join(n for n, on in zip(config.centernet.in_features, row, strict=True) if on)}"
        for label, row in zip(objects.labels.tolist(), assigned.tolist(), strict=True)
    ]
    return draw(blended, {"boxes": objects.boxes, "labels": torch.arange(len(names))}, names)
