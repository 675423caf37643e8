"""The command `show`: draw images of a data set."""

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.jobs import ConfigArgument, Data, DataPath, Flag, Overrides, PathArgument

FILE_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # by suffix
logger = logging.getLogger(__name__)


def show(
    data: Data,
    *overrides: Overrides,
    data_path: DataPath = None,
    output: PathArgument = Path("show.jpg"),
    split: str = "train",
    count: int = 16,
    seed: int = 0,
    augmented: Flag = False,
    targets: Flag = False,
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

    from centernet2.builders.dataset_grid import draw_dataset_grid
    from centernet2.builders.loading import as_config
    from centernet2.data.readers import ALL, find_dataset, load_split_files
    from centernet2.files import open_atomic, writable_file

    options = as_config(config).override(overrides)
    source, target = Path(data), writable_file(Path(output))
    kind = FILE_FORMATS.get(target.suffix.lower())
    if kind is None:
        raise ValueError(f"--output is {output}; it must end in {', '.join(FILE_FORMATS)}")
    splits = find_dataset(source, None if data_path is None else Path(data_path))
    name = split if split in splits else ALL
    if name not in splits:
        raise ValueError(
            f"{data} has no {split} split, only {', '.join(splits)}; choose with --split"
        )
    dataset = load_split_files(splits[name], name, source, masks=options.model.mask_on)
    order = np.random.default_rng(seed).permutation(len(dataset))[:count].tolist()
    grid = draw_dataset_grid(
        dataset, order, options, seed=seed, augmented=augmented or targets, heat_maps=targets
    )
    with open_atomic(target) as file:
        Image.fromarray(grid.permute(1, 2, 0).numpy()).save(file, kind, quality=90)
    logger.info("%s", target)
