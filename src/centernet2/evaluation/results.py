"""Detections as COCO results, in memory and as a file.

In memory they are one float64 array [D, 7] with the columns of `RESULT_COLUMNS`, the form that
`loadRes` takes: it has a fifth of the size of a list of dictionaries and keeps every digit. Masks,
if any, are a list beside it.
"""

import json
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from hotcoco import mask as rle
from torch import Tensor

from centernet2.evaluation.ground_truth import FloatArray, GroundTruth, xyxy_to_xywh
from centernet2.files import open_atomic
from centernet2.models.postprocess import paste
from centernet2.structures import Detections, select

RESULT_COLUMNS = ("image_id", "x", "y", "width", "height", "score", "category_id")
PASTED_PIXELS = 2**27  # of the masks that are in memory at a time


class RunLengths(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]  # height, width
    counts: str


def results_of(detections: Detections, *, image_id: int, category_ids: Sequence[int]) -> FloatArray:
    """Convert detections on the original image to rows of COCO results."""
    boxes = xyxy_to_xywh(detections["boxes"].cpu().numpy())  # [D, 4]
    scores = detections["scores"].cpu().numpy()  # [D]
    categories = np.asarray(category_ids)[detections["labels"].cpu().numpy()]  # [D]
    columns = [np.full(len(boxes), image_id), boxes, scores, categories]
    return np.column_stack(columns).astype(np.float64)  # [D, 7]


def encode_masks(detections: Detections, size: tuple[int, int]) -> list[RunLengths] | None:
    """Encode the masks of an image of `size` (height, width); None without masks.

    They are pasted and encoded a few at a time, so that those of a large image fit into memory.
    """
    if "box_masks" not in detections:
        return None
    step = max(1, PASTED_PIXELS // (size[0] * size[1]))
    encoded: list[RunLengths] = []
    rows = torch.arange(len(detections["boxes"]), device=detections["boxes"].device)
    for part in torch.split(rows, step):
        pasted = paste(select(detections, part), size)
        encoded += [encode_mask(mask) for mask in pasted["masks"].cpu()]
    return encoded


def encode_mask(mask: Tensor) -> RunLengths:
    """Encode a mask bool [H, W]."""
    counts = rle.encode(mask.numpy())["counts"]
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}


def write_results(
    path: Path, results: FloatArray, masks: Sequence[RunLengths] | None = None
) -> None:
    """Write COCO results, a detection per line; the file appears whole or not at all."""
    with open_atomic(path) as file:
        for index, (row, mask) in enumerate(
            zip(results, repeat(None) if masks is None else masks, strict=False)
        ):
            image_id, *box, score, category = row.tolist()
            record = {
                "image_id": int(image_id),
                "category_id": int(category),
                "bbox": box,
                "score": score,
            }
            record |= {} if mask is None else {"segmentation": mask}
            file.write(((",\n" if index else "[\n") + json.dumps(record)).encode())
        file.write(b"\n]\n" if len(results) else b"[]\n")


def read_results(path: Path, truth: GroundTruth) -> FloatArray:
    """Read COCO results of boxes and check that they belong to the data set."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        rows = [(r["image_id"], *r["bbox"], r["score"], r["category_id"]) for r in records]
        results = np.array(rows, dtype=np.float64).reshape(len(rows), len(RESULT_COLUMNS))
    except OSError as error:
        raise ValueError(
            f"{path}: the results file cannot be opened ({error.strerror}); check the path"
        ) from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a COCO results file (a JSON list of detections): {error}"
        ) from error
    except KeyError as error:
        raise ValueError(
            f"{path}: a detection lacks {error}; each needs image_id, category_id, bbox, score"
        ) from error
    finite = np.isfinite(results).all(axis=1)
    if not finite.all():
        raise ValueError(f"{path}: detection {int(np.argmin(finite))} holds a NaN or infinity")
    for kind, column, known in (
        ("image_id", 0, truth.image_ids),
        ("category_id", 6, np.asarray(truth.category_ids)),
    ):
        unknown = np.setdiff1d(results[:, column], known)
        if unknown.size:
            raise ValueError(
                f"{path}: {kind} {int(unknown[0])} is not in the data set; "
                "were these detections made on another one?"
            )
    return results


def read_masks(path: Path, truth: GroundTruth) -> list[RunLengths] | None:
    """Read the masks of COCO results; None unless each detection has one.

    Raises:
        ValueError: a mask has another size than its image.
    """
    records = json.loads(path.read_text(encoding="utf-8"))
    masks = [record.get("segmentation") for record in records]
    if not masks or not all(
        isinstance(mask, dict) and isinstance(mask.get("counts"), str) for mask in masks
    ):
        return None
    image_sizes = zip(truth.heights.tolist(), truth.widths.tolist(), strict=True)
    sizes = dict(zip(truth.image_ids.tolist(), image_sizes, strict=True))
    for row, (record, mask) in enumerate(zip(records, masks, strict=True)):
        size = sizes[record["image_id"]]
        if tuple(mask.get("size", ())) != size:
            raise ValueError(
                f"{path}: the mask of detection {row} is of size {mask.get('size')}, its image "
                f"{list(size)}; were these detections made on resized images?"
            )
    return masks
