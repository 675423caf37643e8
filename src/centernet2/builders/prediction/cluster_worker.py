"""What a worker of a cluster does: detect objects in shards of images."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.builders.prediction.prediction_run import DetectionCounter, Plan, detections
from centernet2.images.storage import shown_name
from centernet2.predict.parquet_parts import import_arrow, part_row, part_schema
from centernet2.predict.sources import Source, SourceKind
from centernet2.runtime.verification import hash_of
from centernet2.threads import cpu_threads
from centernet2.zoo import ZOO_PREFIX

MAX_ATTEMPTS = 4  # to detect in a shard, while its workers end or their machines leave


class Task(NamedTuple):
    """What all workers are given."""

    weights: str  # zoo:NAME, or the same file on all machines
    digest: str  # of the file
    options: Mapping[str, Any]  # of `load_predictor`
    plan: Plan  # without its sources


def digest_of(weights: str) -> str:
    """Return what tells weights from others: their SHA-256, or zoo:NAME as it is."""
    return weights if weights.startswith(ZOO_PREFIX) else hash_of(Path(weights))


def shard_of(paths: Sequence[Path | str]) -> Any:
    """Return images as an Arrow table with the bytes of their paths or addresses."""
    return import_arrow().table({"path": [os.fsencode(path) for path in paths]})


def result_schema() -> Any:
    """Return the schema of a worker's table: that of a part, and two more columns.

    `error` says why an image has no detections; without an image, why the worker has no detector.
    `highest_score` is that of all detections of the shard, also of those below the threshold.
    """
    arrow = import_arrow()
    error = arrow.field("error", arrow.string())
    return part_schema().append(error).append(arrow.field("highest_score", arrow.float32()))


class Worker:
    """A detector on one worker, which turns a shard into a table of `result_schema`.

    Args:
        begin: `Attempts.begin` of all workers.
    """

    def __init__(self, task: Task, begin: Callable[[tuple[str, int]], int]) -> None:
        self.plan, self.threads, self.begin = task.plan, task.options["threads"], begin
        self.refusal = ""
        try:
            if digest_of(task.weights) != task.digest:
                raise ValueError(f"{task.weights} is another file than where the command runs")
            predictor = load_predictor(task.weights, **task.options)
            self.predictor = predictor.with_batch_size(task.plan.detection.batch_size)
        except (ValueError, OSError) as error:  # the command reports it
            self.refusal = f"{socket.gethostname()} cannot load the detector: {error}"

    def __call__(self, shard: Any) -> Any:
        rows = [{"error": self.refusal}] if self.refusal else self._rows(shard)
        return import_arrow().Table.from_pylist(rows, schema=result_schema())

    def _rows(self, shard: Any) -> list[dict[str, Any]]:
        paths = [os.fsdecode(each) for each in shard["path"].to_pylist()]
        if self.begin((paths[0], len(paths))) > MAX_ATTEMPTS:
            raise RuntimeError(f"{MAX_ATTEMPTS} workers have ended on {len(paths)} images")
        plan = self.plan._replace(sources=[Source(path, SourceKind.IMAGE) for path in paths])
        counter = DetectionCounter()
        with cpu_threads(self.threads):
            threshold = self.predictor.shown_threshold(plan.threshold)
            found = detections(self.predictor, plan, threshold, counter)
            rows = [part_row(each) for each in found]
        rows += [{"image": shown_name(path), "error": str(error)} for path, error in counter.failed]
        return [{**row, "highest_score": counter.highest} for row in rows]
