"""A detector's figures on a data set: detect, gather over the processes, score, write."""

import json
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn

from centernet2.distributed import gather_objects, is_main_process, world_size
from centernet2.evaluation.coco import (
    FloatArray,
    GroundTruth,
    RunLengths,
    coco_metrics,
    encode_masks,
    read_masks,
    read_results,
    results_of,
    write_results,
)
from centernet2.ops.boxes import nonempty, scale_boxes
from centernet2.structures import Detections, select

logger = logging.getLogger(__name__)

LOG_SECONDS = 15  # between two lines about the progress, where no bar is drawn
SHOWN_CLASSES = 90
KINDS = {"bbox": "boxes", "segm": "masks"}  # first part of a figure's name -> what it is about

Found = tuple[FloatArray, list[RunLengths] | None]  # detections as rows of COCO results, and their masks


class EvalBatch(Protocol):
    """What evaluation reads of a batch."""

    @property
    def images(self) -> Sequence[Tensor]: ...  # uint8 [3, H, W] RGB, at the size that the model wants
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
) -> dict[str, float]:
    """COCO figures of `model` on this process's `batches` and those of all other processes; the same on each of them.

    `output_dir` receives predictions.json (COCO results on the original images) and metrics.json.
    """
    rows = _detect(model, dataset, batches)
    merged: dict[int, Found] = {}
    for part in gather_objects(rows):
        merged |= part  # an image that two processes saw counts once
    metrics = {}
    if is_main_process():
        if len(merged) < len(dataset.image_ids):
            logger.warning(
                "%d of %d images were evaluated; what the others show counts as missed",
                len(merged), len(dataset.image_ids),
            )  # fmt: skip
        results, masks = _join([merged[image_id] for image_id in sorted(merged)])
        if output_dir is not None:
            output_dir.mkdir(parents=True, exist_ok=True)
            write_results(output_dir / "predictions.json", results, masks)
        metrics = _score(dataset, results, masks, max_detections=max_detections, output_dir=output_dir)
    return gather_objects(metrics)[0]


def evaluate_predictions(
    dataset: GroundTruth, predictions: Path, *, max_detections: int, output_dir: Path | None
) -> dict[str, float]:
    """COCO figures of a COCO results file, wherever it comes from."""
    results, masks = read_results(predictions, dataset), read_masks(predictions, dataset)
    return _score(dataset, results, masks, max_detections=max_detections, output_dir=output_dir)


def _join(found: Sequence[Found]) -> Found:
    """The detections of all images."""
    results = np.concatenate([np.zeros((0, 7)), *(rows for rows, _ in found)])
    masks = [mask for _, of_image in found for mask in of_image or ()]
    return results, masks if found and all(of_image is not None for _, of_image in found) else None


def _score(
    dataset: GroundTruth,
    results: FloatArray,
    masks: Sequence[RunLengths] | None,
    *,
    max_detections: int,
    output_dir: Path | None,
) -> dict[str, float]:
    metrics = coco_metrics(dataset, results, max_detections=max_detections, masks=masks)
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_metrics(output_dir / "metrics.json", metrics)
    return metrics


def _detect(model: nn.Module, dataset: GroundTruth, batches: Iterable[EvalBatch]) -> dict[int, Found]:
    """COCO results by image id."""
    rows = {}
    share = math.ceil(len(dataset.image_ids) / world_size())
    with evaluating(model), torch.inference_mode():
        for batch in _with_progress(batches, total=share):
            outputs = zip(model(batch.images), batch.images, batch.sizes, batch.image_ids, strict=True)
            for detections, image, size, image_id in outputs:
                detections = _on_original(detections, (image.shape[1], image.shape[2]), size)
                results = results_of(detections, image_id=image_id, category_ids=dataset.category_ids)
                rows[image_id] = results, encode_masks(detections, size)
    return rows


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


def _on_original(detections: Detections, input_size: tuple[int, int], size: tuple[int, int]) -> Detections:
    """From the model's input to the image file, both (height, width); what clipping leaves empty is dropped.

    Masks stay as they are: in the grid of their box, or at the size of the input.
    """
    boxes = scale_boxes(detections["boxes"], input_size, size)
    return select({**detections, "boxes": boxes}, nonempty(boxes))


def _with_progress(batches: Iterable[EvalBatch], *, total: int) -> Iterator[EvalBatch]:
    """Shows how far the main process is: a bar in a terminal, a line of the log now and then elsewhere."""
    console = get_console()  # the one of rich's log handler: lines appear above the bar
    columns = TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn()
    shown = is_main_process()
    start = logged = time.monotonic()
    done = 0
    progress = Progress(
        *columns, TextColumn("{task.fields[rate]}"), console=console, disable=not (shown and console.is_interactive)
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
                logger.info("evaluated %d of %d images, %.1f/s, %.0f s left", done, total, rate, (total - done) / rate)


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Writes figures as JSON, NaN as null; the file appears whole or not at all."""
    content = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def metrics_table(metrics: Mapping[str, float]) -> Group:
    """The figures for a terminal, of boxes and of masks: AP, AR, then the classes, the weakest first."""
    kinds = [kind for kind in KINDS if any(name.startswith(f"{kind}/") for name in metrics)]
    return Group(*(table for kind in kinds for table in _tables_of(kind, metrics, titled=len(kinds) > 1)))


def _tables_of(kind: str, metrics: Mapping[str, float], *, titled: bool) -> list[Table]:
    figures = {name.removeprefix(f"{kind}/"): x for name, x in metrics.items() if name.startswith(f"{kind}/")}
    summaries = [
        _summary({name: value for name, value in figures.items() if name.startswith(start) and "/" not in name})
        for start in ("AP", "AR")
    ]
    if titled:
        summaries[0].title = KINDS[kind]
    classes = {name.removeprefix("AP/"): value for name, value in figures.items() if name.startswith("AP/")}
    ranked = sorted((value, name) for name, value in classes.items() if math.isfinite(value))
    weakest = _class_table(ranked[:SHOWN_CLASSES])
    if hidden := len(classes) - len(ranked[:SHOWN_CLASSES]):
        weakest.caption = f"and {hidden} more in metrics.json: better ones, and those without ground truth"
    return [*summaries, weakest]


def _summary(figures: Mapping[str, float]) -> Table:
    table = Table(*figures, box=SIMPLE_HEAD)
    table.add_row(*map(_format, figures.values()))
    return table


def _class_table(ranked: Sequence[tuple[float, str]], *, pairs: int = 3) -> Table:
    table = Table(title="AP by class, weakest first", box=SIMPLE_HEAD)
    for _ in range(min(pairs, len(ranked))):
        table.add_column("class")
        table.add_column("AP", justify="right")
    rows = math.ceil(len(ranked) / pairs)
    for row in range(rows):
        cells = [(escape(name), _format(value)) for value, name in ranked[row::rows]]
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _format(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
