"""The protocol of CVAT's serverless functions (Nuclio): functions and objects."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from centernet2.serve.served_model import ServedModel

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

RECTANGLE, MASK = "rectangle", "mask"
OTHER = re.compile(r"[^a-z0-9]+")  # characters that a name of Nuclio has not


def function_name(model: ServedModel) -> str:
    """Return the name of a model as a function."""
    return OTHER.sub("-", model.name.lower()).strip("-") or "detector"


def to_function(model: ServedModel, port: int, has_masks: bool) -> dict[str, Any]:
    """Return the record of a function, as the dashboard of Nuclio does."""
    kind = MASK if has_masks else RECTANGLE
    labels = [
        {"id": label, "name": name, "type": kind} for label, name in enumerate(model.class_names)
    ]
    annotations = {
        "name": model.name,
        "type": "detector",
        "framework": "centernet2",
        "spec": json.dumps(labels, ensure_ascii=False),
    }
    return {
        "metadata": {
            "name": function_name(model),
            "namespace": "nuclio",
            "labels": {"nuclio.io/project-name": "cvat"},
            "annotations": annotations,
        },
        "spec": {"description": f"The detector {model.name} of CenterNet2"},
        "status": {"state": "ready", "httpPort": port},
    }


def to_cvat(prediction: "Prediction") -> list[dict[str, Any]]:
    """Return the objects of an image as masks or else as rectangles.

    The confidence is a text there.
    """
    rectangles = (
        {"type": RECTANGLE, "points": [round(side, 2) for side in each.box]} for each in prediction
    )
    places = _masks(prediction) if prediction.has_masks else rectangles
    return [
        {"confidence": str(round(each.score, 5)), "label": each.name, **place}
        for each, place in zip(prediction, places, strict=True)
        if place is not None
    ]


def _masks(prediction: "Prediction") -> Iterator[dict[str, Any] | None]:
    """Yield each mask; None: it is empty.

    `mask` has the pixels, 0 or 1, of the rectangle around it row by row, then left, top, right,
    bottom of that rectangle, both ends included. `points` is its outline, x and y in turn, for
    those who want polygons.
    """
    from centernet2.predict.outlines import outline

    for mask in prediction.each_mask():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            yield None
            continue
        left, top, right, bottom = map(int, (columns[0], rows[0], columns[-1], rows[-1]))
        pixels = mask[top : bottom + 1, left : right + 1].astype(int).ravel().tolist()
        yield {
            "type": MASK,
            "mask": [*pixels, left, top, right, bottom],
            "points": outline(mask).ravel().tolist(),
        }
