"""Options of one request."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from centernet2.serve.refusals import describe_invalid, unprocessable


class ThresholdOptions(BaseModel):
    """The model of a request, and the score from which it shows detections."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: Annotated[
        str | None,
        Field(
            description="Minimum score of detections, in 0..1, or several by class: "
            "cat=0.5,dog=0.3. Default: as of `centernet2 predict`.",
            examples=["0.3"],
        ),
    ] = None
    model: Annotated[
        str | None, Field(description="Name of the model, of those in /models; default: the first.")
    ] = None

    @field_validator("score_threshold", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Take numbers, and objects of numbers by class, as JSON has them."""
        if isinstance(value, Mapping):
            return ",".join(f"{name}={score}" for name, score in value.items())
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return str(value) if is_number else value


class WantedOptions(ThresholdOptions):
    """Which detections a request wants."""

    classes: Annotated[
        list[str], Field(description="Names of the classes to keep, with commas; default: all.")
    ] = []
    max_detections: Annotated[
        int | None, Field(ge=1, description="Number of detections to keep, the best ones.")
    ] = None

    @field_validator("classes", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class RequestOptions(WantedOptions):
    """Options of a request; fields of its address, of its form or of its JSON object."""

    format: Annotated[
        Literal["json", "png", "jpeg", "webp"] | None,
        Field(description="json, or a picture with the detections; default: by the Accept header."),
    ] = None


def with_options(query: RequestOptions, others: Mapping[str, Any]) -> RequestOptions:
    """Return options of address and body; Refused if one is invalid or in both."""
    given = query.model_dump(exclude_unset=True)
    if twice := sorted(given.keys() & others.keys()):
        raise unprocessable(f"{twice[0]} is given in the address and in the body; give it once")
    try:
        return RequestOptions.model_validate(given | dict(others))
    except ValidationError as error:
        raise unprocessable(describe_invalid(error)) from error
