"""Answer labelling tools: Label Studio (ML backend) and CVAT (Nuclio functions)."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from centernet2.predict.label_regions import LabelConfig
from centernet2.serve.access import OwnService, require_token
from centernet2.serve.addresses import PORTS
from centernet2.serve.connections import read_body, unless_left
from centernet2.serve.cvat import function_name, to_cvat, to_function
from centernet2.serve.label_studio import image_of, parse_label_config, to_label_studio
from centernet2.serve.refusals import Refused, unprocessable
from centernet2.serve.request_options import RequestOptions, with_options
from centernet2.serve.served_model import ServedModel, Wanted
from centernet2.serve.service import Service
from centernet2.serve.uploads import json_image, parse_json

WRITTEN = "/%?=&+,:;@~!$'()*[]#"  # characters of addresses that stand for themselves
FunctionName = Annotated[str, Path(description="Of those in /api/functions.")]
labelling_router = APIRouter(dependencies=[Depends(require_token)], tags=["labelling"])


async def _content(request: Request, service: Service) -> dict[str, Any]:
    content = parse_json(await read_body(request, service.limits))
    if not isinstance(content, dict):
        raise unprocessable("the body is a JSON object")
    return content


@labelling_router.post("/setup", summary="Label Studio: begin with a project")
async def setup(request: Request, service: OwnService) -> dict[str, str]:
    """Check the labelling config of a project."""
    parse_label_config((await _content(request, service)).get("schema"))
    return {"model_version": service.model(None).name}


@labelling_router.post("/webhook", summary="Label Studio: an annotation has changed")
async def webhook(request: Request, service: OwnService) -> dict[str, str]:
    """Take note of nothing: the service does not train."""
    await _content(request, service)
    return {"status": "ignored"}


@labelling_router.post("/predict", summary="Label Studio: predict tasks")
async def predict(request: Request, service: OwnService) -> JSONResponse:
    """Return the regions of each task, for the tags of the labelling config."""
    with service.gate.hold():
        content = await _content(request, service)
        tasks = content.get("tasks")
        if not isinstance(tasks, list) or not tasks:
            raise unprocessable('"tasks" is a list of tasks')
        configs = parse_label_config(content.get("label_config"))
        images = [image_of(task, configs[0]) for task in tasks]
        with service.gate.hold(len(tasks) - 1, held=1):
            work = _predict_tasks(service, images, configs)
            results = await unless_left(request, work, service.limits.timeout)
    return JSONResponse({"results": results})


async def _predict_tasks(
    service: Service, images: Sequence[str], configs: Sequence[LabelConfig]
) -> list[dict[str, Any]]:
    model = service.model(None)
    wanted = model.wanted(RequestOptions())
    contents = await asyncio.gather(*(_read_task(service, image) for image in images))
    async with service.decoded(*contents) as decoded:
        found = await asyncio.gather(*(service.detect(each, model, wanted) for each in decoded))
        with service.metrics.timed("encode"):
            results = (service.work(to_label_studio, each, configs, model.name) for each in found)
            return await asyncio.gather(*results)


async def _read_task(service: Service, image: str) -> bytes:
    """Return the content of a task's image: of Label Studio, an address or a data URI."""
    own = service.options.label_studio
    if image.startswith("/") and own is None:
        raise unprocessable(
            f"the image {image[:80]} is in Label Studio; --label-studio of `centernet2 serve` "
            "names its address"
        )
    if own is not None and (image.startswith("/") or image.startswith(f"{own.origin}/")):
        # the operator has named this host, so it may be in a private network
        path = image if image.startswith("/") else image.removeprefix(own.origin)
        path = quote(path, safe=WRITTEN)  # as browsers do with the name of a file
        rules = service.options.addresses._replace(
            hosts=(urlsplit(own.origin).hostname or "",), admits=lambda address: True
        )
        return await service.fetch(f"{own.origin}{path}", rules, own.headers)
    return await json_image(image, service.fetch)


@labelling_router.get("/api/functions", summary="CVAT: list the functions")
async def functions(request: Request, service: OwnService) -> dict[str, Any]:
    """Return each model as a function of Nuclio."""
    port = _port_of(request)
    return {
        function_name(each): to_function(each, port, service.has_masks(each))
        for each in service.models.values()
    }


@labelling_router.get("/api/functions/{name}", summary="CVAT: one function")
async def function(request: Request, service: OwnService, name: FunctionName) -> dict[str, Any]:
    """Return a model as a function of Nuclio."""
    model = _model_of(service, name)
    return to_function(model, _port_of(request), service.has_masks(model))


def _port_of(request: Request) -> int:
    return request.url.port or PORTS[request.url.scheme]


@labelling_router.post("/", summary="CVAT: call the function of the first model")
@labelling_router.post("/api/function_invocations", summary="CVAT: call a function")
async def invoke(request: Request, service: OwnService) -> JSONResponse:
    """Return the objects of an image, base64 text, as masks or else as rectangles."""
    name = request.headers.get("x-nuclio-function-name")
    model = service.model(None) if name is None else _model_of(service, name)
    with service.gate.hold():
        content = await _content(request, service)
        if "image" not in content:
            raise unprocessable('the JSON object has no "image"')
        given = with_options(RequestOptions(), {"score_threshold": content.get("threshold")})
        work = _invoke(service, content["image"], model, model.wanted(given))
        return JSONResponse(await unless_left(request, work, service.limits.timeout))


async def _invoke(
    service: Service, image: Any, model: ServedModel, wanted: Wanted
) -> list[dict[str, Any]]:
    content = await json_image(image, service.fetch)
    async with service.decoded(content) as (pixels,):
        found = await service.detect(pixels, model, wanted)
        with service.metrics.timed("encode"):
            return await service.work(to_cvat, found)


def _model_of(service: Service, name: str) -> ServedModel:
    for each in service.models.values():
        if function_name(each) == name:
            return each
    raise Refused(HTTPStatus.NOT_FOUND, f"there is no function '{name[:80]}'")
