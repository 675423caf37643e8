"""Stored results of evaluations: their detections, and the config behind them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet2.builders.detector.loading import stored_config
from centernet2.checkpoint import is_json_file
from centernet2.checkpoint.checkpoint import checkpoints_in_run
from centernet2.config import Config, ConfigError, load_config
from centernet2.data import DetectionDataset
from centernet2.data.readers.results import read_results
from centernet2.evaluation import (
    RESULTS_FILE,
    STAGES_FILE,
    SkippedImage,
    read_skipped,
    read_stages,
    source_sets,
)
from centernet2.structures import FloatArray, RunLengths, StrPath

logger = logging.getLogger(__name__)

RESULTS_SUFFIXES = (".json", ".jsonl", ".ndjson")  # whatever such a file holds
CONFIG_FILE = "config.yaml"  # of a training run, in its output folder
Stages = dict[int, dict[str, Any]]  # by position of the image


class FoundDetections(NamedTuple):
    """The detections of one or several results files."""

    results: FloatArray  # [D, 7]
    masks: list[RunLengths] | None
    stages: list[dict[str, Any]] | None  # of each image, in the order of the results
    skipped: dict[int, SkippedImage]  # by position: images that the evaluation could not use


def holds_results(source: StrPath) -> bool:
    """Whether a path names results rather than weights.

    The folder of a training run does, unless the run has not been evaluated.
    """
    path = Path(source)
    if not path.is_dir():
        return path.suffix in RESULTS_SUFFIXES or is_json_file(path)
    found = (path.glob(f"{place}{RESULTS_FILE}") for place in ("", "*/", "eval/*/"))
    return any(any(files) for files in found) or not checkpoints_in_run(path)


def config_of_source(source: StrPath) -> Config | None:
    """Return the config of what `load_results` accepts; None if none is found."""
    return config_of_results(source) if holds_results(source) else stored_config(source)


def config_of_results(source: StrPath) -> Config | None:
    """Return the config of the training run behind a results file or its folder.

    It is in the same folder or the one above; other programs may write a file of that name, too.
    """
    path = Path(source).absolute()
    folder = path if path.is_dir() else path.parent
    for file in (folder / CONFIG_FILE, folder.parent / CONFIG_FILE):
        try:
            config = load_config(file) if file.is_file() else None
        except ConfigError as error:
            logger.warning("%s is not used: %s", file, error)
            continue
        if config is not None:
            logger.info("%s: the options of the data are those of %s", source, file)
            return config
    return None


def read_detections(path: Path, dataset: DetectionDataset) -> FoundDetections:
    """Read a results file, or the folder of an evaluation.

    Of joined data sets, the folder has a file for each, since their ids may be the same.
    """
    if not path.is_dir():
        _refuse_ambiguous_categories(path, dataset)
        return _read_file(path, dataset)
    parts = source_sets(dataset)
    files = [_find_results(path, each.folder) for each in parts]
    if len(parts) == 1:
        return _read_file(files[0], dataset)
    found = []
    for part, file in zip(parts, files, strict=True):
        own = replace(
            dataset.subset(part.images),
            name=part.name,
            category_ids=tuple(part.category_ids),
            sources=None,
        )
        each = _read_file(file, own)
        each.results[:, 0] = part.images[each.results[:, 0].astype(np.int64)]
        skipped = {int(part.images[i]): image for i, image in each.skipped.items()}
        found.append(each._replace(skipped=skipped))
    return _join(found)


def _join(found: Sequence[FoundDetections]) -> FoundDetections:
    """Concatenate detections; masks and stages only if each file has them."""
    masks = [mask for each in found for mask in each.masks or ()]
    stages = [record for each in found for record in each.stages or ()]
    return FoundDetections(
        np.concatenate([each.results for each in found]),
        masks if all(each.masks is not None for each in found) else None,
        stages if all(each.stages is not None for each in found) else None,
        {i: image for each in found for i, image in each.skipped.items()},
    )


def _read_file(path: Path, dataset: DetectionDataset) -> FoundDetections:
    read = read_results(path, dataset)
    stages = read_stages(path.with_name(STAGES_FILE), dataset)
    return FoundDetections(
        read.results,
        read.masks,
        _stages_of(read.results, stages, path),
        _skipped_before(path, dataset, read.results),
    )


def _skipped_before(
    path: Path, dataset: DetectionDataset, results: FloatArray
) -> dict[int, SkippedImage]:
    """Find, by position, the images that the evaluation of a results file skipped."""
    by_name = {(each.image_id, each.file_name): each for each in read_skipped(path)}
    empty = set(range(len(dataset))).difference(results[:, 0].tolist()) if by_name else set()
    keys = ((i, (dataset.image_id(i), dataset.file_name(i))) for i in sorted(empty))
    return {i: by_name[key] for i, key in keys if key in by_name}


def _stages_of(results: FloatArray, stages: Stages, path: Path) -> list[dict[str, Any]] | None:
    """Return the stage records in image order, or None if they do not match."""
    if not stages:
        return None
    images = sorted(stages)
    counts = [len(stages[image]["object_scores"]) for image in images]
    if not np.array_equal(results[:, 0], np.repeat(images, counts)):
        logger.warning(
            "%s belongs to other detections and is left out", path.with_name(STAGES_FILE)
        )
        return None
    return [stages[image] for image in images]


def _refuse_ambiguous_categories(path: Path, dataset: DetectionDataset) -> None:
    """Raise ValueError if a category id in a single file may be of several classes."""
    first, *others = parts = source_sets(dataset)
    for each in others:
        if tuple(each.category_ids) != tuple(first.category_ids):
            files = " and ".join(f"{part.folder}/{RESULTS_FILE}" for part in parts)
            raise ValueError(
                f"{path} is one file for {len(parts)} data sets of DATASETS.TEST, but {first.name} "
                f"and {each.name} have different category ids; evaluate one of them at a time, or "
                f"give a folder with {files}"
            )


def _find_results(folder: Path, part: str) -> Path:
    for path in (folder / part / RESULTS_FILE, folder / "eval" / part / RESULTS_FILE):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder} has no {Path(part) / RESULTS_FILE}; give the output folder of an evaluation"
    )
