"""The command `predict` with an engine: images to Parquet files, on many machines."""

import hashlib
import logging
import os
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from centernet2.builders.detector.loading import as_config
from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.builders.prediction.cluster_worker import Task, digest_of, result_schema, shard_of
from centernet2.builders.prediction.prediction_run import (
    DetectionCounter,
    Plan,
    report,
    require_known_classes,
)
from centernet2.builders.prediction.ray_engine import connected, detect_on_ray, import_ray
from centernet2.checkpoint.checkpoint import find_in_run
from centernet2.images.storage import remote_url, shown_name
from centernet2.predict.parquet_parts import (
    SKIPPED_FILE,
    ParquetParts,
    import_arrow,
    part_schema,
    write_skipped,
)
from centernet2.predict.predictor import Predictor
from centernet2.predict.sources import Source
from centernet2.progress import with_progress
from centernet2.runtime.exported_model import EXPORTED_SUFFIXES
from centernet2.score_thresholds import Resolved
from centernet2.spelling import counted
from centernet2.zoo import ZOO_PREFIX

SHARD_IMAGES = 32  # at most: what one worker handles, and another one again if it is lost
SHARDS = 1000  # of fewer images each in a run of fewer images
LOST = "its worker has ended on it several times, or has raised an error that the log names"
logger = logging.getLogger(__name__)


def predict_on_cluster(weights: Any, options: Mapping[str, Any], plan: Plan) -> dict[str, int]:
    """Detect objects in the images of a plan on Ray workers, and write Parquet files.

    Images that have a row in the folder already are left out.

    Args:
        weights, options: arguments of `load_predictor`.

    Returns:
        The number of images written, of unreadable images, and of objects.
    """
    import_ray()
    task = task_of(weights, options, plan)
    predictor = _load_here(task)  # before any worker starts
    require_known_classes(plan, predictor)
    threshold = predictor.shown_threshold(plan.threshold)
    parts = ParquetParts(plan.folder, _settings_of(task, predictor, threshold))
    done = parts.images()
    # named as by the workers, whose images have a Path
    paths = {shown_name(Path(place)): place for place in map(_absolute, plan.sources)}
    wanted = {name: path for name, path in paths.items() if name not in done}
    counter = DetectionCounter()
    if len(wanted) < len(paths):
        logger.info("%d of %d images are done already", len(paths) - len(wanted), len(paths))
    written = _write_all(wanted, task, parts, counter) if wanted else 0
    if not written and len(wanted) == len(paths):
        count = counted(len(paths), "image")
        raise ValueError(f"no image could be read ({count}, listed above); nothing is written")
    write_skipped(plan.folder, counter.failed)
    if written:
        report(plan, written, counter, threshold)
    if counter.failed:
        logger.error(
            "%s names %s that could not be read; the same command tries again",
            plan.folder / SKIPPED_FILE, counted(len(counter.failed), "image"),
        )  # fmt: skip
    return {"images": written, "skipped": len(counter.failed), "objects": counter.objects}


def task_of(weights: Any, options: Mapping[str, Any], plan: Plan) -> Task:
    """Return what workers are given: names that are valid on every machine."""
    name = str(weights)
    if not name.startswith(ZOO_PREFIX):
        name = os.path.abspath(find_in_run(Path(name)))
    config = options["config"] and as_config(options["config"])
    own = {"config": config, "threads": plan.detection.threads or 1}
    return Task(name, digest_of(name), {**options, **own}, plan._replace(sources=()))


def _load_here(task: Task) -> Predictor:
    """Load the detector on the CPU, to see that it can be loaded, and what it detects."""
    light: dict[str, Any] = {"device": "cpu"}
    if Path(task.weights).suffix not in EXPORTED_SUFFIXES:
        light |= {"dtype": "fp32", "compile": False}  # which not every CPU can
    return load_predictor(task.weights, **{**task.options, **light})


def _settings_of(task: Task, predictor: Predictor, threshold: Resolved) -> dict[str, Any]:
    """Return what determines the detections, by the name that a message gives it."""
    config = predictor.model.info.config  # with the overrides
    return {
        "--weights": task.digest,
        "--config-file or overrides": hashlib.sha256(config.encode()).hexdigest(),
        "--score-threshold": threshold,
        "--classes": task.plan.classes(predictor),
        "--max-detections": task.plan.detection.max_detections,
        "--tile or --overlap": task.options["tiling"] and asdict(task.options["tiling"]),
        "--dtype": task.options["dtype"],
        "--abstain": task.options["abstain"] or None,  # earlier parts do not have it
    }


def _absolute(source: Source) -> Path | str:
    """Return the path of an image from any folder; an address as it is."""
    is_local = remote_url(source.path) is None
    return Path(os.path.abspath(source.path)) if is_local else source.path


def _write_all(
    wanted: Mapping[str, Path | str], task: Task, parts: ParquetParts, counter: DetectionCounter
) -> int:
    """Write and count detections in images by name; return how many images it wrote."""
    written = 0
    with connected(), parts, closing(_each_once(wanted, task)) as tables:
        verbs = ("predicting", "predicted")
        for table in with_progress(tables, verbs, total=len(wanted), images_in=len):
            for row in table.filter(table["error"].is_valid()).to_pylist():
                counter.add_failure(Path(wanted[row["image"]]), ValueError(row["error"]))
            rows = table.filter(table["error"].is_null())
            parts.add(rows.select(part_schema().names))
            written += len(rows)
            counter.objects += sum(map(len, rows["scores"].to_pylist()))
            counter.add_scores(np.array(table["highest_score"].drop_null().to_pylist(), np.float32))
    return written


def _each_once(wanted: Mapping[str, Path | str], task: Task) -> Generator[Any, None, None]:
    """Yield a table of `result_schema` for each shard, so that no image is missing.

    The images of a shard that was lost with its worker are given to workers alone: thus one image
    that ends a worker does not take others with it.
    """
    left = dict(wanted)
    size = min(SHARD_IMAGES, ceil(len(left) / SHARDS))
    batch = task.plan.detection.batch_size
    for shard_size in dict.fromkeys((ceil(size / batch) * batch, 1)):
        if not left:
            return
        with closing(detect_on_ray(_shards(left, shard_size), task)) as tables:
            for table in tables:
                for name in table["image"].to_pylist():
                    if name is None:
                        raise ValueError(table["error"][0].as_py())
                    del left[name]
                yield table
    if left:
        rows = [{"image": name, "error": f"{name}: {LOST}"} for name in left]
        yield import_arrow().Table.from_pylist(rows, schema=result_schema())


def _shards(images: Mapping[str, Path | str], size: int) -> list[Any]:
    paths = [*images.values()]
    return [shard_of(paths[start : start + size]) for start in range(0, len(paths), size)]
