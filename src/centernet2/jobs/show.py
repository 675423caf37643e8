"""Images of a data set with their objects, and what training makes of both."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from centernet2.builders.pipeline import build_mixing, build_train_transform
from centernet2.config import Config
from centernet2.data.annotation_masks import draw_objects
from centernet2.data.dataset import DetectionDataset
from centernet2.data.loader import generator_of, read_indexed_image
from centernet2.data.readers.catalog import find_sources
from centernet2.data.readers.layouts import ALL
from centernet2.data.readers.splits import load_source
from centernet2.data.transforms import Sample
from centernet2.models.centernet.targets import (
    find_neighbors,
    gather_objects,
    heatmap_targets,
    make_levels,
    object_radii,
)
from centernet2.structures import Target
from centernet2.visualize import draw, mosaic

COLUMNS = 4
HEAT = (255, 40, 0)


def show(
    data: Path,
    output: Path,
    *,
    config: Config,
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    augmented: bool = False,
    targets: bool = False,
    data_path: Path | None = None,
) -> None:
    """Writes a contact sheet of random images with their objects.

    Args:
        data: folder or annotation file of any layout that is known, or a name of the catalogue.
        output: picture to write; its ending says the format.
        config: says how training changes images, and what the first stage should predict.
        split: train or val; data that are not divided serve for both.
        count: of images.
        seed: says which images, and which random changes.
        augmented: add what training makes of each image.
        targets: add the heat map of that, and the levels that its objects belong to.
        data_path: the folder above a named data set.
    """
    sources = find_sources(data, data_path)
    name = split if split in sources else ALL
    if name not in sources:
        raise ValueError(
            f"{data} has no {split} split, only {', '.join(sources)}; choose with --split"
        )
    if output.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        raise ValueError(f"--output is {output}; a picture ends in .jpg, .png or .webp")
    dataset = load_source(sources[name], name, data, masks=config.model.mask_on)
    order = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    pictures: list[Tensor] = []
    captions: list[str] = []
    for index in order:
        image, target = read_indexed_image(dataset, index), dataset.target(index)
        pictures.append(_drawn(image, target, dataset.class_names))
        captions.append(dataset.image_path(index).name)
        if augmented:
            image, target = _augmented(dataset, config, index, seed)
            pictures.append(_drawn(image, target, dataset.class_names))
            captions.append("as training sees it")
        if targets:
            pictures.append(_with_heat(image, target, config, dataset.class_names))
            captions.append("heat map and levels")
    step = 1 + augmented + targets
    sheet = mosaic(pictures, captions, columns=max(step, COLUMNS // step * step))
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(output, quality=90)


def _augmented(dataset: DetectionDataset, config: Config, index: int, seed: int) -> Sample:
    generator = generator_of(seed, index)
    transform, mixing = build_train_transform(config), build_mixing(config)
    sample = read_indexed_image(dataset, index), dataset.target(index)
    if mixing is None:
        return transform(*sample, generator)
    return mixing(sample, partial(_another, dataset, generator), transform, generator)


def _another(dataset: DetectionDataset, generator: torch.Generator) -> Sample:
    index = int(torch.randint(len(dataset), (1,), generator=generator))
    return read_indexed_image(dataset, index), dataset.target(index)


def _drawn(image: Tensor, target: Target, class_names: Sequence[str]) -> Tensor:
    shown: Target = {"boxes": target["boxes"], "labels": target["labels"]}
    if "masks" in target:
        shown["masks"] = target["masks"]
    elif "polygons" in target:
        shown["masks"] = draw_objects(target["polygons"], (image.shape[1], image.shape[2]))
    return draw(image, shown, class_names)


def _with_heat(image: Tensor, target: Target, config: Config, class_names: Sequence[str]) -> Tensor:
    """The image under the heat map of its finest level, with the levels of each object (section 4.1 of the paper)."""
    options = config.centernet
    height, width = image.shape[1:]
    shapes = [(-(-height // stride), -(-width // stride)) for stride in options.strides]
    ranges = [(float(low), float(high)) for low, high in options.sizes_of_interest]
    levels = make_levels(shapes, options.strides, ranges, 1)
    objects = gather_objects([target], torch.device("cpu"))
    radii = object_radii(objects.boxes, options.hm_min_overlap, options.min_radius)
    flat = heatmap_targets(objects, levels, 1, None, radii)[:, 0]  # [M]
    rows, columns = shapes[0]
    finest = flat[: rows * columns].view(
        1, 1, rows, columns
    )  # coarser maps show the same peaks in larger cells
    heat = interpolate(finest, scale_factor=options.strides[0], mode="nearest")[
        0, 0, :height, :width
    ]
    grey = image.float().mean(dim=0) * 0.6
    color = torch.tensor(HEAT, dtype=torch.float32)[:, None, None]
    blended = (grey + heat * (color - grey)).round().to(torch.uint8)
    assigned = find_neighbors(objects, levels).assigned  # [G, L]
    names = [
        f"{class_names[label]} {'+'.join(n for n, on in zip(options.in_features, row, strict=True) if on)}"
        for label, row in zip(objects.labels.tolist(), assigned.tolist(), strict=True)
    ]
    return draw(blended, {"boxes": objects.boxes, "labels": torch.arange(len(names))}, names)
