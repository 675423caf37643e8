"""The protocol of Label Studio's ML backends: labelling config, tasks and regions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from centernet2.predict.label_regions import (
    BRUSH,
    POLYGONS,
    RECTANGLES,
    LabelConfig,
    label_regions,
)
from centernet2.serve.refusals import unprocessable

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

OBJECT, LABEL = "Image", "Label"


def parse_label_config(text: Any) -> list[LabelConfig]:
    """Parse a labelling config's tags in order; Refused if none is for image regions.

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
    """Return a task's prediction: a region for each detection whose class is a label.

    The regions are of the first tag that the detector has regions for: polygons and brush need
    masks. Refused if there is none.
    """
    usable = [each for each in configs if prediction.has_masks or each.kind == RECTANGLES]
    if not usable:
        raise unprocessable(
            f"the model {version} has no masks for {configs[0].kind}; add {RECTANGLES} to the "
            "project, or serve a detector that has masks"
        )
    return label_regions(prediction, usable[0], version)
