"""Run a detector on the images of a data set and write its detections to a stream."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from centernet2.distributed import is_main_process, world_size
from centernet2.evaluation.coco_results import encode_masks, results_of
from centernet2.evaluation.ground_truth import GroundTruth
from centernet2.evaluation.stage_metrics import stage_record
from centernet2.evaluation.stream import ImageResult, ResultStream
from centernet2.evaluation.unknown_fit import unknown_record
from centernet2.models.modes import evaluation_mode
from centernet2.models.postprocess import to_original
from centernet2.ops.boxes import scale_boxes
from centernet2.progress import with_progress
from centernet2.structures import Detections, ImageDetector, Inspection, select

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

    The other arguments are those of `score_detector`.
    """
    share = math.ceil((len(dataset) - len(stream.done)) / world_size())
    with evaluation_mode(model), torch.inference_mode():
        for batch in with_progress(
            batches,
            ("evaluating", "evaluated"),
            total=share,
            images_in=lambda batch: len(batch.indices),
            is_shown=is_main_process(),
        ):
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
                    if stages.unknown is not None:
                        boxes = scale_boxes(stages.unknown.boxes, input_size, size)
                        record |= unknown_record(stages.unknown, boxes, detections, dataset, index)
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
