"""Answers: detections as JSON, or drawn on the image."""

import io
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from centernet2.serve.refusals import Refused, unprocessable

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

JSON_TYPE = "application/json"
PICTURES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
JPEG_QUALITY = 92
ANY = ("*/*", "application/*", "")  # of an Accept header: the client takes JSON, too


class DetectedObject(BaseModel):
    """An object in an image."""

    box: Annotated[list[float], Field(description="left, top, right, bottom in pixels")]
    score: Annotated[float, Field(description="in 0..1")]
    label: Annotated[int, Field(description="number of the class, from 0")]
    name: Annotated[str, Field(alias="class", description="of the class")]
    segmentation: Annotated[
        dict[str, Any] | None,
        Field(description="mask as COCO's compressed run lengths, of detectors that have masks"),
    ] = None


class ImageAnswer(BaseModel):
    """The detections of an image, best first."""

    model: str
    width: int
    height: int
    detections: list[DetectedObject]


EXAMPLE = {
    "model": "pets",
    "width": 640,
    "height": 480,
    "detections": [{"box": [12.5, 30.0, 211.4, 402.9], "score": 0.934, "label": 0, "class": "cat"}],
}


def media_type(wanted: str | None, accept: str, count: int) -> str:
    """Return the media type of an answer; Refused if the client takes none.

    The option `wanted` of the request goes before its header `accept`. Pictures show one image.
    """
    chosen = JSON_TYPE if wanted == "json" else PICTURES.get(wanted or "") or _accepted(accept)
    if chosen != JSON_TYPE and count > 1:
        raise unprocessable(
            f"{chosen} holds one image, and {count} are sent; ask for JSON, or send one at a time"
        )
    return chosen


def _accepted(accept: str) -> str:
    """Return the first media type of an Accept header that the service has."""
    given = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for each in given:
        if each in (JSON_TYPE, *PICTURES.values()):
            return each
        if each in ANY:
            return JSON_TYPE
        if each == "image/*":
            return PICTURES["png"]
    raise Refused(
        HTTPStatus.NOT_ACCEPTABLE,
        f"the answer is {JSON_TYPE}, {', '.join(PICTURES.values())}; ask for one of them",
    )


def to_json(predictions: "Sequence[Prediction]", model: str, *, is_list: bool) -> bytes:
    """Encode predictions as one ImageAnswer, or a list of them."""
    from centernet2.predict.conversions import records

    found = [
        {"model": model, "width": own.size[1], "height": own.size[0], "detections": records(own)}
        for own in predictions
    ]
    return json.dumps(found if is_list else found[0], ensure_ascii=False).encode()


def to_picture(prediction: "Prediction", media: str) -> bytes:
    """Draw a prediction on its image, and encode it."""
    stream = io.BytesIO()
    kind = media.removeprefix("image/").upper()
    picture = prediction.plot()
    try:
        picture.save(stream, kind, quality=JPEG_QUALITY)
    except (OSError, ValueError) as error:  # such as of a side of more than 16,383 pixels in WebP
        size = f"{picture.width} x {picture.height}"
        raise unprocessable(
            f"a picture of {size} pixels cannot be {kind} ({error}); ask for PNG or JSON"
        ) from error
    return stream.getvalue()
