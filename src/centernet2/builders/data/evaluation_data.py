"""Data to evaluate detectors on: which data sets, and with which class names."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from centernet2.builders.data.class_map import parse_class_map, require_renamed
from centernet2.config import Config, ConfigError
from centernet2.data import DatasetsOptions, DetectionDataset, require_ground_truth
from centernet2.data.readers import load_dataset
from centernet2.structures import StrPath

logger = logging.getLogger(__name__)

# of the data, if neither --data nor a config names them
COCO_CONFIG = Config().replace({"DATASETS.TEST": ("coco_2017_val",)})


def find_validation_data(
    data: StrPath | None,
    data_path: StrPath | None,
    datasets: DatasetsOptions,
    *,
    masks: bool,
    class_map: Sequence[str] | None = None,
    unannotated: bool = False,
) -> DetectionDataset:
    """Load the validation split of `data`, or else the data sets of the options.

    Data without this split are divided by the options, as they were for the training run.

    Args:
        class_map: pairs "old=new" that the data must have; None: those of the options, as far as
            the data have them, since a training run had other data, too.
        unannotated: accept data without an object, whose detections are written all the same, as
            the test sets of public benchmarks need it.
    """
    names = parse_class_map(datasets.class_map if class_map is None else class_map)
    dataset = load_dataset(
        data=data,
        data_path=data_path,
        names=datasets.test,
        split="val",
        masks=masks,
        val_fraction=datasets.val_fraction,
        val_seed=datasets.val_seed,
        class_map=names,
        partial_labels=datasets.partial_labels,
    )
    if class_map is not None:
        require_renamed(names, [dataset])
    if not unannotated:
        require_ground_truth(dataset)
    elif dataset.crowd.all():
        logger.warning("%s: no image has an object, so there is no AP to compute", dataset.name)
    return dataset


def choose_datasets(
    *configs: Config | None, class_map: Sequence[str] | None = None
) -> DatasetsOptions:
    """Choose the data sets on which detectors with these configs are evaluated.

    They are those of the first config. The smallest validation fraction decides which images are
    held out: with one seed, all detectors that hold out a part have held out these.

    Args:
        class_map: pairs "old=new" in place of those of the configs.

    Raises:
        ConfigError: the configs give the data different class names.
    """
    found = [config.datasets for config in configs if config is not None]
    chosen, *_ = found or [COCO_CONFIG.datasets]
    dividing = [each for each in found if each.val_fraction > 0]
    if dividing:
        least = min(dividing, key=lambda each: each.val_fraction)
        chosen = replace(chosen, val_fraction=least.val_fraction, val_seed=least.val_seed)
    maps = list(dict.fromkeys(each.class_map for each in found if each.class_map))
    if len(maps) > 1 and class_map is None:
        raise ConfigError(
            f"the detectors were trained with different names of the classes ({' '.join(maps[0])} "
            f"and {' '.join(maps[1])}); say with --class-map which names the data get here"
        )
    return replace(chosen, class_map=next(iter(maps), ()))
