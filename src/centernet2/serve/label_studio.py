"""The protocol of Label Studio's ML backends: labelling config, tasks and regions."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from centernet2.serve.brush import pack_mask
from centernet2.serve.refusals import unprocessable

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

RECTANGLES, POLYGONS, BRUSH = "RectangleLabels", "PolygonLabels", "BrushLabels"
OBJECT, LABEL = "Image", "Label"
PERCENT = 100


class LabelConfig(NamedTuple):
    """A tag of a labelling config that labels regions of an image."""

    kind: str  # of RECTANGLES, POLYGONS, BRUSH
    control: str  # its name
    target: str  # name of the tag with the image
    key: str  # of the image in the data of a task
    labels: dict[str, str]  # label of the project by name of the class, in lower case


def parse_label_config(text: Any) -> list[LabelConfig]:
    """Parse a labelling config, its tags in order; Refused if none is for regions of an image.

    Of several images, the first one that has such a tag counts. A label stands for the class of its
    name, or for those of its attribute predicted_values.
    """
    if not isinstance(text, str) or "<!" in text.replace("<!--", ""):
        raise unprocessable("label_config is no labelling config of Label Studio")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise unprocessable(f"label_config is no XML ({error})") from error
    images = {each.get("name", ""): each.get("value", "") for each in root.iter(OBJECT)}
    found = []
    for tag in root.iter():
        target = tag.get("toName", "")
        if tag.tag in (RECTANGLES, POLYGONS, BRUSH) and target in images:
            name, key = tag.get("name", ""), images[target].lstrip("$")
            found.append(LabelConfig(tag.tag, name, target, key, _labels_of(tag)))
    if not found:
        raise unprocessable(
            f"label_config has no {RECTANGLES}, {POLYGONS} or {BRUSH} for an {OBJECT}; add one to "
            "the project"
        )
    return [each for each in found if each.target == found[0].target]


def _labels_of(control: ElementTree.Element) -> dict[str, str]:
    labels = {}
    for each in control.iter(LABEL):
        value = each.get("value", "")
        for name in (each.get("predicted_values") or value).split(","):
            labels[name.strip().lower()] = value
    return labels


def image_of(task: Any, config: LabelConfig) -> str:
    """Return the image of a task: an address, a path of Label Studio, or a data URI."""
    data = task.get("data") if isinstance(task, dict) else None
    value = data.get(config.key) if isinstance(data, dict) else None
    if not isinstance(value, str) or not value:
        raise unprocessable(f"a task has no image: its data has no text '{config.key}'")
    return value


def to_label_studio(
    prediction: "Prediction", configs: Sequence[LabelConfig], version: str
) -> dict[str, Any]:
    """Return a prediction of a task: a region for each detection whose class is a label.

    The regions are of the first tag that the detector has regions for: polygons and brush need
    masks. Refused if there is none.
    """
    usable = [each for each in configs if prediction.has_masks or each.kind == RECTANGLES]
    if not usable:
        raise unprocessable(
            f"the model {version} has no masks for {configs[0].kind}; add {RECTANGLES} to the "
            "project, or serve a detector that has masks"
        )
    config = usable[0]
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
