"""The command `show`: draw images of a data set."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import (
    ClassMap,
    ConfigArgument,
    Data,
    DataPath,
    Flag,
    OverridePairs,
    PathArgument,
)
from centernet2.option_groups import DRAWING
from centernet2.ranges import at_least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from centernet2.config import Config
    from centernet2.data import DetectionDataset

Drawn = Parameter(group=DRAWING)
logger = logging.getLogger(__name__)


@checked(count=at_least(1), seed=at_least(0))
def show(
    data: Data,
    *overrides: OverridePairs,
    data_path: DataPath = None,
    class_map: ClassMap = None,
    output: PathArgument = Path("show.jpg"),
    split: Annotated[str, Drawn] = "train",
    count: Annotated[int, Drawn] = 16,
    seed: Annotated[int, Drawn] = 0,
    augmented: Annotated[Flag, Drawn] = False,
    targets: Annotated[Flag, Drawn] = False,
    config: Annotated[ConfigArgument, Parameter(name="--config-file")] = "CenterNet2_R50_1x",
) -> None:
    """Draw a grid of images of a data set, with their objects.

    Parameters
    ----------
    output
        Image file: .jpg, .jpeg, .png or .webp.
    split
        train or val; ignored if the data have no splits.
    count
        Number of images.
    seed
        Random seed of the choice of images and of the augmentation.
    augmented
        Draw each image augmented as in training, too.
    targets
        Draw the heat-map target of the first stage and the levels of the objects, too.
    config
        Path or name of the config, for augmentation and targets.
    """
    import numpy as np
    from PIL import Image

    from centernet2.builders.data.class_map import class_map_of
    from centernet2.builders.data.dataset_grid import draw_dataset_grid
    from centernet2.builders.detector.loading import as_config
    from centernet2.outputs import writable_file
    from centernet2.pictures import save_picture

    options = as_config(config).override(overrides)
    target = writable_file(Path(output), command="show")
    _require_suffix(target)
    given = class_map_of(class_map, overrides)
    dataset = _load(Path(data), data_path, split, options, given)
    order = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    grid = draw_dataset_grid(
        dataset, order, options, seed=seed, augmented=augmented or targets, heat_maps=targets
    )
    save_picture(Image.fromarray(grid), target)
    logger.info("%s", target)


def _load(
    source: Path,
    data_path: PathArgument | None,
    split: str,
    options: "Config",
    given: "Sequence[str] | None",
) -> "DetectionDataset":
    """Load a split; every class that the `given` map renames must be in the data."""
    from centernet2.builders.data.class_map import parse_class_map, require_renamed
    from centernet2.builders.data.data_pipeline import needs_masks
    from centernet2.data import rename_classes, require_masks
    from centernet2.data.readers import ALL, find_dataset, load_split_files

    splits = find_dataset(source, data_path)
    name = split if split in splits else ALL
    if name not in splits:
        raise ValueError(
            f"{source} has no {split} split, only {', '.join(splits)}; choose with --split"
        )
    names = parse_class_map(options.datasets.class_map if given is None else given)
    dataset = load_split_files(splits[name], name, source, masks=needs_masks(options))
    if needs_masks(options):
        require_masks(dataset)
    dataset = rename_classes(dataset, names)
    if given is not None:
        require_renamed(names, [dataset])
    return dataset


def _require_suffix(target: Path) -> None:
    from centernet2.pictures import FILE_FORMATS

    if target.suffix.lower() not in FILE_FORMATS:
        raise ValueError(f"--output is {target}; it must end in {', '.join(FILE_FORMATS)}")
