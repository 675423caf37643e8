"""Predictions as regions of Label Studio: rectangles, polygons or brush masks."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from centernet2.predict.brush import pack_mask

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

RECTANGLES, POLYGONS, BRUSH = "RectangleLabels", "PolygonLabels", "BrushLabels"
PERCENT = 100


class LabelConfig(NamedTuple):
    """A tag of a labelling config that labels regions of an image."""

    kind: str  # of RECTANGLES, POLYGONS, BRUSH
    control: str  # its name
    target: str  # name of the tag with the image
    key: str  # of the image in the data of a task
    labels: dict[str, str]  # label of the project by name of the class, in lower case


def config_for(class_names: Sequence[str], *, masks: bool) -> LabelConfig:
    """Return a tag that labels regions of these classes."""
    labels = {name.lower(): name for name in class_names}
    return LabelConfig(POLYGONS if masks else RECTANGLES, "label", "image", "image", labels)


def label_config(config: LabelConfig) -> str:
    """Return the labelling config of a project with this tag."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=config.target, value=f"${config.key}")
    control = ElementTree.SubElement(view, config.kind, name=config.control, toName=config.target)
    for label in config.labels.values():
        ElementTree.SubElement(control, "Label", value=label)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def label_regions(prediction: "Prediction", config: LabelConfig, version: str) -> dict[str, Any]:
    """Return a task's prediction: a region for each detection whose class is a label.

    Args:
        config: its kind needs masks, except RECTANGLES.
        version: name of the model.
    """
    kind, (height, width) = config.kind.lower(), prediction.size
    places = PLACES[config.kind](prediction)
    regions: list[dict[str, Any]] = []
    for number, (each, place) in enumerate(zip(prediction, places, strict=True)):
        label = config.labels.get(each.name.lower())
        if label is None or place is None:
            continue
        regions.append(
            {
                "id": f"box{number}",
                "from_name": config.control,
                "to_name": config.target,
                "type": kind,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "score": each.score,
                "value": {**place, kind: [label]},
            }
        )
    scores = [region["score"] for region in regions]
    mean = sum(scores) / len(scores) if scores else 0.0
    return {"model_version": version, "score": mean, "result": regions}


def _rectangles(prediction: "Prediction") -> Iterator[dict[str, Any]]:
    """Yield each box in percent of the image."""
    height, width = prediction.size
    for each in prediction:
        left, top, right, bottom = each.box
        yield {
            "x": left / width * PERCENT,
            "y": top / height * PERCENT,
            "width": (right - left) / width * PERCENT,
            "height": (bottom - top) / height * PERCENT,
            "rotation": 0,
        }


def _polygons(prediction: "Prediction") -> Iterator[dict[str, Any] | None]:
    """Yield the outline of each mask in percent of the image; None: the mask is empty."""
    from centernet2.predict.outlines import outline

    height, width = prediction.size
    for mask in prediction.each_mask():
        corners = outline(mask) * PERCENT / np.array([width, height])
        yield {"points": corners.tolist(), "closed": True} if len(corners) else None


def _brush(prediction: "Prediction") -> Iterator[dict[str, Any] | None]:
    for mask in prediction.each_mask():
        yield {"format": "rle", "rle": pack_mask(mask)} if mask.any() else None


# what a tag says of each detection, beside its label
PLACES = {RECTANGLES: _rectangles, POLYGONS: _polygons, BRUSH: _brush}
