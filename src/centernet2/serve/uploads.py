"""The images in the body of a request: an image, a form, or JSON with base64."""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.types import Message

from centernet2.serve.refusals import Refused, unprocessable

FORM, JSON = "multipart/form-data", "application/json"
RAW = ("image/", "application/octet-stream", "binary/octet-stream")  # beginnings of media types
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # as JSON writes it
OTHER_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
PLAIN_ALPHABET = str.maketrans("-_", "+/")  # of the base64 that addresses may hold
FORM_FIELDS = 100  # at most
HTTP = ("http://", "https://")
ACCEPTED = (
    "send an image (Content-Type: image/jpeg or application/octet-stream), a form "
    "(multipart/form-data) or JSON (application/json)"
)
Fetch = Callable[[str], Awaitable[bytes]]


class Upload(NamedTuple):
    """What a client has sent."""

    images: list[bytes]  # content of files
    is_list: bool = False  # the answer is a list, too
    options: Mapping[str, Any] = {}  # beside the images


async def parse_upload(
    request: Request, body: bytes, fetch: Fetch, require_few: Callable[[int], None]
) -> Upload:
    """Return the images of a body.

    Args:
        fetch: returns the content of an address, or refuses it.
        require_few: refuses a number of images, before any is fetched.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == JSON or media.endswith("+json"):
        return await _parse_json(body, fetch, require_few)
    if media == FORM:
        return await _parse_form(request, body)
    if media.startswith(RAW):
        return Upload([body])
    given = f"the content type is '{media[:80]}'" if media else "there is no content type"
    raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{given}; {ACCEPTED}")


async def _parse_form(request: Request, body: bytes) -> Upload:
    """Return the files of a form in their order, and its other fields as options."""
    fields: dict[str, list[str]] = {}
    images = []
    async with Request(request.scope, _replay(body)).form(
        max_files=FORM_FIELDS, max_fields=FORM_FIELDS
    ) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                images.append(await value.read())
            else:
                fields.setdefault(name, []).append(value)
    if not images:
        raise unprocessable("the form has no file; send one, as by curl -F image=@photo.jpg")
    options = {name: own if len(own) > 1 else own[0] for name, own in fields.items()}
    return Upload(images, len(images) > 1, options)


def _replay(body: bytes) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON body, or refuse it."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unprocessable(f"the body is no JSON ({str(error)[:80]})") from None
    if SURROGATE.search(body):  # two of them are one character; a lone one is none
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise unprocessable("the JSON has half of a character, as \\ud800 is") from None
    return value


async def _parse_json(body: bytes, fetch: Fetch, require_few: Callable[[int], None]) -> Upload:
    """Return the images of a JSON list, or of an object with `image` or `images`."""
    value = parse_json(body)
    options: dict[str, Any] = {}
    if isinstance(value, dict):
        given = [key for key in ("image", "images", "url") if key in value]
        if len(given) != 1:
            raise unprocessable(
                'the JSON object has one of "image", "images" and "url", and options beside it'
            )
        options = {key: each for key, each in value.items() if key != given[0]}
        value = {"url": value["url"]} if given[0] == "url" else value[given[0]]
        if given[0] == "images" and not isinstance(value, list):
            raise unprocessable('"images" is a list of base64 texts; one is given as "image"')
    if isinstance(value, list):
        if not value:
            raise unprocessable("the list of images is empty")
        require_few(len(value))
        return Upload([await json_image(each, fetch) for each in value], True, options)
    return Upload([await json_image(value, fetch)], False, options)


async def json_image(value: Any, fetch: Fetch) -> bytes:
    """Return the content of an image in JSON: base64, a data URI, or an address."""
    if isinstance(value, Mapping) and set(value) == {"url"}:
        value = value["url"]
        if not isinstance(value, str) or not value.startswith((*HTTP, "data:")):
            starts = ", ".join((*HTTP, "data:"))
            raise unprocessable(f"a url is a text that begins with one of {starts}")
    if not isinstance(value, str):
        raise unprocessable(f"an image in JSON is base64 text, not a {type(value).__name__}")
    if value.startswith(HTTP):
        return await fetch(value)
    if scheme := OTHER_ADDRESS.match(value):
        raise unprocessable(
            f"an image at an address of {scheme[0]} cannot be read; send its content, or an "
            "address that begins with http:// or https://"
        )
    if value.startswith("data:"):
        head, _, value = value.partition(",")
        if not head.endswith(";base64"):
            raise unprocessable("a data URI of an image has the form data:image/png;base64,...")
    text = "".join(value.split()).translate(PLAIN_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise unprocessable("an image in JSON is base64 text; this is not") from None
