"""A detector's figures on a data set: detect, gather over the processes, score, write."""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from centernet2.distributed import gather_objects, is_main_process, world_size
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.ground_truth import FloatArray, GroundTruth
from centernet2.evaluation.results import (
    RunLengths,
    encode_masks,
    read_masks,
    read_results,
    results_of,
    write_results,
)
from centernet2.evaluation.stage_metrics import stage_record
from centernet2.evaluation.stream import Found, ResultStream
from centernet2.evaluation.voc_metrics import voc_metrics
from centernet2.files import write_json
from centernet2.ops.boxes import nonempty, scale_boxes
from centernet2.structures import Detections, Inspection, select

logger = logging.getLogger(__name__)

LOG_SECONDS = 15  # between two lines about the progress, where no bar is drawn
Inspect = Callable[[Sequence[Tensor]], Sequence[Inspection]]
Interrupted = Callable[[], bool]


class EvaluationInterrupted(Exception):
    """Somebody wants the evaluation to end early; what was found so far stays on disk."""


class EvalBatch(Protocol):
    """What evaluation reads of a batch."""

    @property
    def images(
        self,
    ) -> Sequence[Tensor]: ...  # uint8 [3, H, W] RGB, at the size that the model wants
    @property
    def image_ids(self) -> Sequence[int]: ...
    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...  # height and width of the image files


def evaluate(
    model: nn.Module,
    dataset: GroundTruth,
    batches: Iterable[EvalBatch],
    *,
    max_detections: int,
    output_dir: Path | None,
    stream: ResultStream | None = None,
    inspect: Inspect | None = None,
    voc: bool = False,
    interrupted: Interrupted = lambda: False,
) -> dict[str, float]:
    """COCO figures of `model` on this process's `batches` and those of all other processes; the same on each of them.

    Args:
        model: gives the detections of a batch's images.
        dataset: the ground truth.
        batches: this process's images.
        max_detections: that the model gives for an image.
        output_dir: receives predictions.json (COCO results on the original images) and metrics.json, and stages.json
            where the stages are inspected.
        stream: where lines are written while the model runs, perhaps with images that are done; default: a folder
            that is deleted.
        inspect: gives the detections in place of the model, and with them what its stages say.
        voc: add the figures of Pascal VOC.
        interrupted: asked before each batch; where one process says yes, all of them raise EvaluationInterrupted.
    """
    with ExitStack() as stack:
        if stream is None:
            stream = ResultStream(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        try:
            _detect(model, dataset, batches, stream, inspect, interrupted)
            if any(gather_objects(interrupted())):
                raise EvaluationInterrupted
            found = stream.gather()
        except BaseException:
            stream.close(complete=False)
            raise
        metrics = {}
        if is_main_process():
            metrics = _finish(
                dataset, found, max_detections=max_detections, output_dir=output_dir, voc=voc
            )
        stream.close(complete=True)
    return gather_objects(metrics)[0]


def evaluate_predictions(
    dataset: GroundTruth,
    predictions: Path,
    *,
    max_detections: int,
    output_dir: Path | None,
    voc: bool = False,
) -> dict[str, float]:
    """COCO figures of a COCO results file, wherever it comes from."""
    results, masks = read_results(predictions, dataset), read_masks(predictions, dataset)
    return _score(
        dataset, results, masks, max_detections=max_detections, output_dir=output_dir, voc=voc
    )


def _finish(
    dataset: GroundTruth,
    found: Mapping[int, Found],
    *,
    max_detections: int,
    output_dir: Path | None,
    voc: bool,
) -> dict[str, float]:
    """Writes what was found in all images, and gives the figures."""
    if len(found) < len(dataset.image_ids):
        logger.warning(
            "%d of %d images were evaluated; what the others show counts as missed",
            len(found),
            len(dataset.image_ids),
        )
    results = np.concatenate([np.zeros((0, 7)), *(of_image.results for of_image in found.values())])
    masks: list[RunLengths] | None = [
        mask for of_image in found.values() for mask in of_image.masks or ()
    ]
    if not found or any(of_image.masks is None for of_image in found.values()):
        masks = None
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_results(output_dir / "predictions.json", results, masks)
        records = {
            str(image_id): each.stages
            for image_id, each in found.items()
            if each.stages is not None
        }
        (output_dir / "stages.json").unlink(missing_ok=True)  # of an earlier evaluation
        if records:
            write_json(output_dir / "stages.json", records)
    return _score(
        dataset, results, masks, max_detections=max_detections, output_dir=output_dir, voc=voc
    )


def _score(
    dataset: GroundTruth,
    results: FloatArray,
    masks: Sequence[RunLengths] | None,
    *,
    max_detections: int,
    output_dir: Path | None,
    voc: bool,
) -> dict[str, float]:
    metrics = coco_metrics(dataset, results, max_detections=max_detections, masks=masks)
    if voc:
        metrics |= voc_metrics(dataset, results)
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_metrics(output_dir / "metrics.json", metrics)
    return metrics


def _detect(
    model: nn.Module,
    dataset: GroundTruth,
    batches: Iterable[EvalBatch],
    stream: ResultStream,
    inspect: Inspect | None,
    interrupted: Interrupted,
) -> None:
    """Writes what is found in the images of all batches to the stream."""
    share = math.ceil((len(dataset.image_ids) - len(stream.done)) / world_size())
    index = (
        {image_id: i for i, image_id in enumerate(dataset.image_ids.tolist())} if inspect else {}
    )
    with evaluating(model), torch.inference_mode():
        for batch in _with_progress(batches, total=share):
            if interrupted():
                return
            inspected = inspect(batch.images) if inspect else [None] * len(batch.images)
            outputs = (
                [each.detections for each in inspected if each] if inspect else model(batch.images)
            )
            for detections, stages, image, size, image_id in zip(
                outputs, inspected, batch.images, batch.sizes, batch.image_ids, strict=True
            ):
                input_size = (image.shape[1], image.shape[2])
                detections, kept = _on_original(detections, input_size, size)
                record = None
                if stages is not None:
                    record = stage_record(stages, kept, input_size, size, dataset, index[image_id])
                results = results_of(
                    detections, image_id=image_id, category_ids=dataset.category_ids
                )
                stream.write(image_id, Found(results, encode_masks(detections, size), record))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards every module in the mode it had: frozen parts may differ from the whole."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _on_original(
    detections: Detections, input_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Detections, Tensor]:
    """From the model's input to the image file, both (height, width), and which [D] were kept: not the empty ones.

    Masks stay as they are: in the grid of their box, or at the size of the input.
    """
    boxes = scale_boxes(detections["boxes"], input_size, size)
    kept = nonempty(boxes)
    return select({**detections, "boxes": boxes}, kept), kept


def _with_progress(batches: Iterable[EvalBatch], *, total: int) -> Iterator[EvalBatch]:
    """Shows how far the main process is: a bar in a terminal, a line of the log now and then elsewhere."""
    console = get_console()  # the one of rich's log handler: lines appear above the bar
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    shown = is_main_process()
    start = logged = time.monotonic()
    done = 0
    progress = Progress(
        *columns,
        TextColumn("{task.fields[rate]}"),
        console=console,
        disable=not (shown and console.is_interactive),
    )
    with progress:
        task = progress.add_task("", total=total, rate="")
        for batch in batches:
            yield batch
            done += len(batch.image_ids)
            now = time.monotonic()
            rate = done / max(now - start, 1e-6)
            progress.update(task, completed=done, rate=f"{rate:.1f} images/s")
            if shown and not console.is_interactive and now - logged > LOG_SECONDS:
                logged = now
                logger.info(
                    "evaluated %d of %d images, %.1f/s, %.0f s left",
                    done,
                    total,
                    rate,
                    (total - done) / rate,
                )


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Writes figures as JSON, NaN as null; the file appears whole or not at all."""
    write_json(
        path,
        {name: value if math.isfinite(value) else None for name, value in metrics.items()},
        indent=2,
    )
