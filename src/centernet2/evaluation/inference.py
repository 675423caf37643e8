"""Run a detector on the images of a data set and write its detections to a stream."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from centernet2.distributed import is_main_process, world_size
from centernet2.evaluation.coco_results import encode_masks, results_of
from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.evaluation.stage_metrics import stage_record
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.models.modes import evaluation_mode
from centernet2.models.postprocess import to_original
from centernet2.progress import ProgressClock
from centernet2.structures import Detections, ImageDetector, Inspection, select

logger = logging.getLogger(__name__)

Inspect = Callable[[Sequence[Tensor]], Sequence[Inspection]]
Interrupted = Callable[[], bool]


class EvalBatch(Protocol):
    """What evaluation reads of a batch."""

    @property
    def images(self) -> Sequence[Tensor]: ...  # uint8 [3, H, W] RGB, at the model's input size
    @property
    def indices(self) -> Sequence[int]: ...  # positions of the images in the data set
    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...  # height and width of the image files


def detect_batches(
    model: ImageDetector,
    dataset: GroundTruth,
    batches: Iterable[EvalBatch],
    stream: ResultStream,
    inspect: Inspect | None,
    interrupted: Interrupted,
    *,
    label_map: Tensor | None = None,
) -> None:
    """Write the detections of all batches to the stream, until `interrupted` says so.

    Args:
        label_map: [C] int64, the detector's label -> label of the data set, or -1 for a class that
            the data lack; default: they are the same.
    """
    share = math.ceil((len(dataset) - len(stream.done)) / world_size())
    with evaluation_mode(model), torch.inference_mode():
        for batch in _with_progress(batches, total=share):
            if interrupted():
                return
            inspected = inspect(batch.images) if inspect else [None] * len(batch.images)
            outputs = (
                [each.detections for each in inspected if each]
                if inspect
                else model.detect(batch.images)
            )
            for detections, stages, image, size, index in zip(
                outputs, inspected, batch.images, batch.sizes, batch.indices, strict=True
            ):
                input_size = (image.shape[1], image.shape[2])
                detections, kept = to_original(detections, input_size, size)
                if label_map is not None:
                    detections, known = _relabel(detections, label_map)
                    kept[kept.clone()] = known
                record = None
                if stages is not None:
                    record = stage_record(stages, kept, input_size, size, dataset, index)
                results = results_of(detections, image=index)
                stream.write(index, ImageResult(results, encode_masks(detections, size), record))


def _relabel(detections: Detections, label_map: Tensor) -> tuple[Detections, Tensor]:
    """Give detections the labels of the data set; leave out classes that it lacks.

    Returns:
        The remaining detections, and a mask [D] bool of the given ones that remain.
    """
    labels = label_map.to(detections["labels"].device)[detections["labels"]]
    known = labels >= 0
    return select({**detections, "labels": labels}, known), known


def _with_progress(batches: Iterable[EvalBatch], *, total: int) -> Iterator[EvalBatch]:
    """Show the main process's progress: a bar in a terminal, log lines elsewhere."""
    console = get_console()  # the one of rich's log handler: lines appear above the bar
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    shown = is_main_process()
    clock, done = ProgressClock(), 0
    with Progress(
        *columns, console=console, disable=not (shown and console.is_interactive)
    ) as progress:
        task = progress.add_task("", total=total, rate="")
        for batch in batches:
            yield batch
            done += len(batch.indices)
            rate = done / max(clock.seconds, 1e-6)
            progress.update(task, completed=done, rate=f"{rate:.1f} images/s")
            if shown and not console.is_interactive and clock.is_line_due():
                logger.info(
                    "evaluated %d of %d images, %.1f/s, %.0f s left",
                    done,
                    total,
                    rate,
                    (total - done) / rate,
                )
