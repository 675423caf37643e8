"""Training image counts per class, by which the federated loss samples classes."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from centernet2.config import Config, ConfigError
from centernet2.data import DetectionDataset, images_per_class

KEY = "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH"


def image_counts_of_data(config: Config, dataset: DetectionDataset) -> Tensor:  # [C]
    """Return the image counts of the file if there is one, else those of the data.

    The file's classes are matched by name; if they have none, by category id.
    """
    if (path := _file_of(config)) is None:
        return images_per_class(dataset)
    records = _read(path)
    has_names = all("name" in each for each in records)
    wanted = dataset.class_names if has_names else dataset.category_ids
    counts = {str(each["name" if has_names else "id"]): _count(each, path) for each in records}
    missing = [each for each in wanted if str(each) not in counts]
    if missing:
        kind = "name" if has_names else "id"
        raise ConfigError(
            f"{path} counts no images of {len(missing)} of {len(wanted)} classes of "
            f"{dataset.name}: none has the {kind} {missing[0]!r}; "
            f"set {KEY} to a file of these classes, or to '' to count the images of the data"
        )
    return torch.tensor([counts[str(each)] for each in wanted])


def image_counts_of_file(config: Config) -> Tensor | None:  # [C]
    """Return the image counts of the file, in the order of its ids; None: no file."""
    if (path := _file_of(config)) is None:
        return None
    records = sorted(_read(path), key=lambda each: int(each["id"]))
    if len(records) != config.roi_heads.num_classes:
        raise ConfigError(
            f"{path} counts {len(records)} classes, but the model has "
            f"{config.roi_heads.num_classes}; set {KEY} to a file of its classes, or to ''"
        )
    return torch.tensor([_count(each, path) for each in records])


def _file_of(config: Config) -> Path | None:
    path = Path(config.federated.frequency_file)
    return path if config.federated.enabled and path.is_file() else None


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the list of classes; ConfigError if it is none."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} ({KEY}) is not JSON: {error}") from error
    if not (isinstance(records, list) and all(_is_class(each) for each in records)):
        raise ConfigError(
            f"{path} ({KEY}) is no list of classes, each with an id and an image_count"
        )
    return records


def _is_class(record: Any) -> bool:
    return isinstance(record, dict) and all(
        isinstance(record.get(key), int) for key in ("id", "image_count")
    )


def _count(record: dict[str, Any], path: Path) -> float:
    if record["image_count"] < 0:
        raise ConfigError(f"{path} ({KEY}): the image_count of {record['id']} is negative")
    return float(record["image_count"])
