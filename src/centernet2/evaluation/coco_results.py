"""Detections as COCO results, in memory and as a file.

In memory they are one float64 array [D, 7] of image, x, y, width, height, score and label: it has a
fifth of the size of a list of dictionaries and keeps every digit. An image is its position in the
data set; a file has the ids of the user's files. Masks, if any, are a list beside it.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from hotcoco import mask as rle
from torch import Tensor

from centernet2.evaluation.stream import ImageResult
from centernet2.files import open_atomic
from centernet2.models.postprocess import paste
from centernet2.ops.box_arrays import xyxy_to_xywh
from centernet2.structures import Detections, FloatArray, RunLengths, UserId, select

PASTED_PIXELS = 2**27  # of the masks that are in memory at a time


def results_of(detections: Detections, *, image: int) -> FloatArray:
    """Convert detections, on the original image and with labels of the data, to rows."""
    boxes = xyxy_to_xywh(detections["boxes"].cpu().numpy())  # [D, 4]
    scores = detections["scores"].cpu().numpy()  # [D]
    labels = detections["labels"].cpu().numpy()  # [D]
    columns = [np.full(len(boxes), image), boxes, scores, labels]
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
    path: Path,
    images: Iterable[ImageResult],
    *,
    image_ids: Sequence[UserId],
    category_ids: Sequence[UserId],
    class_names: Sequence[str],
) -> None:
    """Write COCO results, a detection per line; the file appears whole or not at all.

    Args:
        image_ids: image -> its id in the user's files.
        category_ids: label -> id in the user's files.
        class_names: label -> name, so that the file is not read with ids of other data.
    """
    rows = (
        pair
        for each in images
        for pair in zip(each.results, each.masks or repeat(None, len(each.results)), strict=True)
    )
    start = b"[\n"
    with open_atomic(path) as file:
        for row, mask in rows:
            image, *box, score, label = row.tolist()
            record = {
                "image_id": image_ids[int(image)],
                "category_id": category_ids[int(label)],
                "category_name": class_names[int(label)],
                "bbox": box,
                "score": score,
            }
            record |= {} if mask is None else {"segmentation": mask}
            file.write(start + json.dumps(record).encode())
            start = b",\n"
        file.write(b"[]\n" if start == b"[\n" else b"\n]\n")
