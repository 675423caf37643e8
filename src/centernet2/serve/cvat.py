"""The protocol of CVAT's serverless functions (Nuclio): functions, and objects of an image."""

import json
import re
from typing import TYPE_CHECKING, Any

from centernet2.serve.served_model import ServedModel

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

OTHER = re.compile(r"[^a-z0-9]+")  # characters that a name of Nuclio has not


def function_name(model: ServedModel) -> str:
    """Return the name of a model as a function."""
    return OTHER.sub("-", model.name.lower()).strip("-") or "detector"


def to_function(model: ServedModel, port: int | None) -> dict[str, Any]:
    """Return the record of a function, as the dashboard of Nuclio does."""
    labels = [
        {"id": label, "name": name, "type": "rectangle"}
        for label, name in enumerate(model.class_names)
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
    """Return the objects of an image as rectangles; the confidence is a text there."""
    return [
        {
            "confidence": str(round(each.score, 5)),
            "label": each.name,
            "points": [round(side, 2) for side in each.box],
            "type": "rectangle",
        }
        for each in prediction
    ]
