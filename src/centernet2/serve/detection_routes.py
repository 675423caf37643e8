"""Detect objects in images, and explain a point of one."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from centernet2.predict.explanation_sentences import Language, sentence
from centernet2.serve.access import OwnService, require_token
from centernet2.serve.answers import (
    EXAMPLE,
    JSON_TYPE,
    PICTURES,
    ImageAnswer,
    media_type,
    to_json,
    to_picture,
)
from centernet2.serve.connections import read_body, unless_left
from centernet2.serve.refusals import unprocessable
from centernet2.serve.request_options import RequestOptions, ThresholdOptions, with_options
from centernet2.serve.service import Service
from centernet2.serve.uploads import FORM, JSON, Upload, parse_upload

router = APIRouter(dependencies=[Depends(require_token)])

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": BINARY,
            "application/octet-stream": BINARY,
            FORM: {"schema": {"type": "object", "properties": {"image": BINARY["schema"]}}},
            JSON: {
                "schema": {"oneOf": [{"type": "object"}, {"type": "array"}]},
                "examples": {
                    "one image": {
                        "summary": "base64, with options beside it",
                        "value": {"image": "/9j/4AAQSkZJRg...", "score_threshold": 0.5},
                    },
                    "several images": {
                        "summary": "a list; the answer is a list, too",
                        "value": ["/9j/4AAQSkZJRg...", "iVBORw0KGgo..."],
                    },
                },
            },
        },
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "the token is missing or wrong"},
    403: {"description": "the address of an image is not allowed"},
    406: {"description": "no media type of the Accept header is available"},
    408: {"description": "the request did not arrive in time"},
    413: {"description": "the body, an image, or the number of images is too large"},
    415: {"description": "the body is no image, form or JSON"},
    422: {"description": "an image or an option cannot be used; `detail` says why"},
    429: {
        "description": "too many images or pixels are waiting; try again after Retry-After seconds"
    },
    503: {"description": "no answer in time, or the service is not ready"},
}
DETECTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "detections, best first; for a list of images a list of these",
        "model": ImageAnswer,
        "content": {JSON_TYPE: {"example": EXAMPLE}, **{kind: {} for kind in PICTURES.values()}},
    }
}


@router.post(
    "/detect",
    summary="Detect objects in images",
    responses=DETECTED | REFUSALS,
    openapi_extra=BODY,
)
async def detect(
    request: Request, service: OwnService, query: Annotated[RequestOptions, Query()]
) -> Response:
    """Detect objects in one image, or in several of a form or a JSON list.

    Options stand in the address, in fields of the form, or beside `image` in JSON.
    """
    with service.gate.hold():
        upload = await receive(request, service)
        options = with_options(query, upload.options)
        accept = request.headers.get("accept", "")
        media = media_type(options.format, accept, len(upload.images))
        with service.gate.hold(len(upload.images) - 1, held=1):  # all or none of them are accepted
            work = _detect(service, upload, options, media)
            content = await unless_left(request, work, service.limits.timeout)
    return Response(content, media_type=media)


async def receive(request: Request, service: Service) -> Upload:
    """Read the images of a request within the limits.

    Images at addresses may take as long again.
    """
    with service.metrics.timed("read"):
        body = await read_body(request, service.limits)
        work = parse_upload(request, body, service.fetch, service.gate.require_few)
        return await unless_left(request, work, service.limits.timeout)


async def _detect(service: Service, upload: Upload, options: RequestOptions, media: str) -> bytes:
    model = service.model(options.model)
    wanted = model.wanted(options)
    async with service.decoded(*upload.images) as images:
        predictions = await asyncio.gather(*(service.detect(x, model, wanted) for x in images))
        with service.metrics.timed("encode"):
            if media == JSON_TYPE:
                return await service.work(to_json, predictions, model.name, is_list=upload.is_list)
            return await service.work(to_picture, predictions[0], media)


class ExplainOptions(ThresholdOptions):
    """A point of an image, in its pixels, and the detections that are shown there."""

    x: Annotated[float, Field(description="Pixels from the left side of the image.")]
    y: Annotated[float, Field(description="Pixels from the top of the image.")]
    language: Annotated[Language, Field(description="Of the sentences.")] = "en"


@router.post(
    "/explain",
    summary="Explain a point of an image",
    responses=REFUSALS,
    openapi_extra=BODY,
)
async def explain(
    request: Request, service: OwnService, query: Annotated[ExplainOptions, Query()]
) -> Response:
    """Say why there is a detection at a point of an image, or why there is none."""
    with service.gate.hold():
        upload = await receive(request, service)
        if len(upload.images) != 1 or upload.options:
            raise unprocessable("send one image, and the options in the address")
        work = _explain(service, upload.images[0], query)
        return JSONResponse(await unless_left(request, work, service.limits.timeout))


async def _explain(service: Service, content: bytes, query: ExplainOptions) -> dict[str, Any]:
    model = service.model(query.model)
    if model.unexplained:
        raise unprocessable(sentence(model.unexplained, query.language, name=model.name))
    threshold = model.threshold(query)
    try:
        async with service.decoded(content) as (pixels,):
            explanation = await service.on_device(
                model.predictor.explain, pixels, query.x, query.y, score_threshold=threshold
            )
    except ValueError as error:
        raise unprocessable(str(error)) from error
    text, record = explanation.text(query.language), explanation.to_dict(query.language)
    return {"model": model.name, "text": text, **record}


class ClassColors(BaseModel):
    """The colors of a class in pictures: of boxes and masks, and of label texts."""

    fill: Annotated[str, Field(description="as #rrggbb")]
    text: Annotated[str, Field(description="as #rrggbb, black or white")]


class ServedModelAnswer(BaseModel):
    """A model of the service."""

    name: str
    classes: Annotated[list[str], Field(description="names by label")]
    colors: Annotated[list[ClassColors], Field(description="by label")]
    score_threshold: Annotated[
        float | list[float], Field(description="where a request names none; a list is by label")
    ]
    explains: Annotated[bool, Field(description="whether /explain answers")]
    sha256: Annotated[str | None, Field(description="of the weights, if they were checked")] = None


@router.get("/models", summary="List the models", response_model_exclude_unset=True)
async def models(service: OwnService) -> list[ServedModelAnswer]:
    """List the models of the service, the default one first."""
    return [ServedModelAnswer(**model.describe()) for model in service.models.values()]


metrics_router = APIRouter(dependencies=[Depends(require_token)])


@metrics_router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(service: OwnService) -> Response:
    """Return queue length, batch sizes, times of each stage, and counts of requests."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


health_router = APIRouter()


@health_router.head("/health", include_in_schema=False)
@health_router.get("/health", summary="Whether the process runs")
async def health(service: OwnService) -> dict[str, str]:
    """Answer as long as the process runs."""
    return {"status": "UP", "model_class": next(iter(service.models))}


@health_router.head("/ready", include_in_schema=False)
@health_router.get("/ready", summary="Whether requests are answered", responses={503: {}})
async def ready(service: OwnService) -> Response:
    """Answer 200 when the models are loaded, warm and do not fail, else 503."""
    if not service.is_ready:
        service.check()
    status = HTTPStatus.OK if service.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"ready": service.is_ready}, status)
