"""Upload a video or name a camera, ask for progress, fetch results, stop it."""

import asyncio
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from centernet2.serve.access import OwnService, require_token
from centernet2.serve.connections import body_parts
from centernet2.serve.refusals import Refused, unprocessable
from centernet2.serve.request_options import WantedOptions
from centernet2.serve.service import Service
from centernet2.serve.video_jobs import FILM, LINES, VideoJob
from centernet2.spelling import did_you_mean
from centernet2.structures import Pixels

if TYPE_CHECKING:
    from centernet2.predict.prediction import Prediction

VideoId = Annotated[str, PathParameter(description="Of the answer to POST /videos.")]
video_router = APIRouter(dependencies=[Depends(require_token)])
LISTS = {"concat", "dash", "hls", "imf", "sdp"}  # formats that name files, which FFmpeg would open
BODY: dict[str, Any] = {
    "requestBody": {
        "description": "the file of a film; empty if a camera is named",
        "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class VideoRequest(WantedOptions):
    """Options of a video."""

    camera: Annotated[
        str | None, Field(description="Name of a camera of the service, in place of a film.")
    ] = None
    draw: Annotated[bool, Field(description="Also make a film with the detections.")] = False


class VideoAnswer(BaseModel):
    """State of a video; the identifier is known to its owner alone."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    state: Annotated[str, Field(description="waiting, running, done, failed or stopped")]
    frames: Annotated[int, Field(description="that are done")]
    total: Annotated[int | None, Field(description="frames of the film, about")] = None
    error: str | None = None


@video_router.post(
    "/videos",
    status_code=HTTPStatus.ACCEPTED,
    response_model_exclude_none=True,
    summary="Detect objects in a film or a camera",
    openapi_extra=BODY,
)
async def create_video(
    request: Request, service: OwnService, query: Annotated[VideoRequest, Query()]
) -> VideoAnswer:
    """Upload a film, or name a camera, and get the identifier of a job."""
    model = service.model(query.model)
    wanted, loop = model.wanted(query), asyncio.get_running_loop()

    def detect(pixels: Pixels) -> "Future[Prediction]":
        return asyncio.run_coroutine_threadsafe(service.detect(pixels, model, wanted), loop)

    with service.videos.room() as folder:
        name, source = await _source(request, query, service, folder)
        is_camera = query.camera is not None
        job = VideoJob(name, source, is_camera, folder, model.class_names, query.draw)
        if not is_camera:
            job.total = await service.work(_count_frames, source)
        service.videos.start(job, detect)
    return VideoAnswer.model_validate(job)


async def _source(
    request: Request, query: VideoRequest, service: Service, folder: Path
) -> tuple[str, str]:
    """Return the name and the place of a source: of a camera, or of the uploaded film."""
    options = service.videos.options
    if query.camera is not None:
        if query.camera not in options.cameras:
            hint = did_you_mean(query.camera, [*options.cameras])
            raise unprocessable(f"there is no camera '{query.camera[:80]}'{hint}")
        return query.camera, options.cameras[query.camera]
    media = request.headers.get("content-type", "")
    if media.startswith(("multipart/", "application/json")):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the content type is '{media[:80]}'; send the film itself as the body, as by curl "
            "--data-binary @film.mp4",
        )
    path = folder / FILM
    with path.open("wb") as file:
        async for part in body_parts(request, service.limits, options.max_bytes):
            await service.work(file.write, part)
    if not path.stat().st_size:
        raise unprocessable("the film is empty; send its content, or name a camera")
    return "the film", str(path)


def _count_frames(path: str) -> int | None:
    """Return the number of frames of a film, about; Refused if it is none."""
    from centernet2.predict.films import Film, FilmSource, import_av

    others = import_av().formats_available - LISTS
    source = FilmSource(path, "the film", options={"format_whitelist": ",".join(others)})
    try:
        with Film(source) as film:
            return film.count
    except ValueError as error:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from error


@video_router.get("/videos/{id}", response_model_exclude_none=True, summary="Progress of a video")
async def video(service: OwnService, id: VideoId) -> VideoAnswer:
    """Return the state of a video, and how many frames are done."""
    return VideoAnswer.model_validate(service.videos.get(id))


@video_router.get(
    "/videos/{id}/detections", response_class=Response, summary="Detections of a video"
)
async def video_detections(service: OwnService, id: VideoId) -> Response:
    """Return a line of JSON for each frame that is done: frame, time and detections."""
    path = service.videos.get(id).folder / LINES
    content = await service.work(path.read_bytes) if path.exists() else b""
    return Response(content, media_type="application/x-ndjson")


@video_router.get("/videos/{id}/film", response_class=Response, summary="Film of a video")
async def video_film(service: OwnService, id: VideoId) -> Response:
    """Return the film with drawn detections, of a finished video with `draw=true`."""
    film = service.videos.get(id).film
    if film is None:
        raise Refused(
            HTTPStatus.CONFLICT, "there is no film; ask for it by draw=true, and wait for its end"
        )
    return FileResponse(film, media_type="video/mp4")


@video_router.delete(
    "/videos/{id}", status_code=HTTPStatus.NO_CONTENT, summary="Stop and delete a video"
)
async def delete_video(service: OwnService, id: VideoId) -> None:
    """Stop a video, also a camera that has never answered, and delete its results."""
    service.videos.delete(service.videos.get(id))
