"""The protocol of Label Studio's ML backends: labelling config, tasks and regions."""

from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from centernet2.serve.refusals import unprocessable

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

CONTROL, OBJECT, LABEL = "RectangleLabels", "Image", "Label"
PERCENT = 100


class LabelConfig(NamedTuple):
    """What the labelling config of a project says about rectangles."""

    control: str  # name of the tag with the labels
    target: str  # name of the tag with the image
    key: str  # of the image in the data of a task
    labels: dict[str, str]  # label of the project by name of the class, in lower case


def parse_label_config(text: Any) -> LabelConfig:
    """Parse a labelling config; Refused if it has no rectangles on an image.

    A label stands for the class of its name, or for those of its attribute predicted_values.
    """
    if not isinstance(text, str) or "<!" in text.replace("<!--", ""):
        raise unprocessable("label_config is no labelling config of Label Studio")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise unprocessable(f"label_config is no XML ({error})") from error
    images = {each.get("name", ""): each.get("value", "") for each in root.iter(OBJECT)}
    for control in root.iter(CONTROL):
        target = control.get("toName", "")
        if target in images:
            labels = _labels_of(control)
            return LabelConfig(control.get("name", ""), target, images[target].lstrip("$"), labels)
    raise unprocessable(f"label_config has no {CONTROL} for an {OBJECT}; add them to the project")


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


def to_label_studio(prediction: "Prediction", config: LabelConfig, version: str) -> dict[str, Any]:
    """Return a prediction of a task: a region for each detection whose class is a label."""
    height, width = prediction.size
    regions: list[dict[str, Any]] = []
    for number, each in enumerate(prediction):
        label = config.labels.get(each.name.lower())
        if label is None:
            continue
        left, top, right, bottom = each.box
        value = {
            "x": left / width * PERCENT,
            "y": top / height * PERCENT,
            "width": (right - left) / width * PERCENT,
            "height": (bottom - top) / height * PERCENT,
            "rotation": 0,
            "rectanglelabels": [label],
        }
        regions.append(
            {
                "id": f"box{number}",
                "from_name": config.control,
                "to_name": config.target,
                "type": "rectanglelabels",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "score": each.score,
                "value": value,
            }
        )
    scores = [region["score"] for region in regions]
    mean = sum(scores) / len(scores) if scores else 0.0
    return {"model_version": version, "score": mean, "result": regions}
