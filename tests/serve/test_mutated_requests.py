"""Mutated requests: each is answered, refused ones by a status 4xx, and none ends the service."""

import json
from collections import Counter
from random import Random
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from centernet2.serve.limits import Limits
from centernet2.serve.service import ServiceOptions
from tests.helpers.serving import as_base64, client_of, encode, make_service

BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
WORDS = ("", "0", "-1", "1e999", "nan", "cat", "cat=2", "x=1,", "\x00", "é" * 50, "[]", "9" * 400)
VALUES = (None, True, -1, 1e308, "", "x", [], {}, [[]], {"url": 3}, {"url": "http://a/b"}, "data:,")
TYPES = ("image/png", "application/json", FORM, "multipart/form-data", "text/plain", "a/b; c=\xff")
OPTIONS = ("score_threshold", "classes", "max_detections", "model", "format", "x", "y", "other")


class Made(NamedTuple):
    """A request."""

    path: str
    query: dict[str, str]
    kind: str
    body: bytes


def valid_requests() -> list[Made]:
    content, text = encode(size=(20, 30)), as_base64(encode(size=(20, 30)))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    form = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    config = '<View><Image name="i" value="$i"/><RectangleLabels name="l" toName="i">'
    config += '<Label value="cat"/></RectangleLabels></View>'
    task = {"tasks": [{"data": {"i": f"data:image/png;base64,{text}"}}], "label_config": config}
    images = [encode(size=(20, 30), kind=kind) for kind in ("JPEG", "GIF", "TIFF", "WEBP", "BMP")]
    return [
        *(Made("/detect", {}, "image/png", each) for each in (content, *images)),
        Made("/detect", {"format": "png"}, "image/png", content),
        Made("/detect", {"classes": "cat"}, FORM, form),
        Made("/detect", {}, "application/json", json.dumps({"images": [text, text]}).encode()),
        Made("/explain", {"x": "3", "y": "4"}, "image/png", content),
        Made("/predict", {}, "application/json", json.dumps(task).encode()),
        Made("/", {}, "application/json", json.dumps({"image": text, "threshold": 0.2}).encode()),
        Made("/setup", {}, "application/json", json.dumps({"schema": config}).encode()),
        Made("/webhook", {}, "application/json", b"{}"),
    ]


def mutated(request: Made, random: Random) -> Made:
    """Return a request with one to three changes."""
    for _ in range(random.randint(1, 3)):
        change = random.choice((flip, cut, insert, repeat, retype, requery, rejson))
        request = change(request, random)
    return request


def flip(request: Made, random: Random) -> Made:
    body = bytearray(request.body)
    for _ in range(random.choice((1, 4, 40))):
        if body:
            body[random.randrange(len(body))] = random.randrange(256)
    return request._replace(body=bytes(body))


def cut(request: Made, random: Random) -> Made:
    return request._replace(body=request.body[: random.randint(0, len(request.body))])


def insert(request: Made, random: Random) -> Made:
    at = random.randint(0, len(request.body))
    return request._replace(body=request.body[:at] + random.randbytes(9) + request.body[at:])


def repeat(request: Made, random: Random) -> Made:
    return request._replace(body=request.body * random.choice((2, 30)))


def retype(request: Made, random: Random) -> Made:
    return request._replace(kind=random.choice(TYPES))


def requery(request: Made, random: Random) -> Made:
    query = {random.choice(OPTIONS): random.choice(WORDS)}
    return request._replace(query=request.query | query)


def rejson(request: Made, random: Random) -> Made:
    """Replace a value of a JSON object, or the whole of it."""
    try:
        value: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        return request
    if isinstance(value, dict) and value and random.random() < 0.8:
        value[random.choice([*value])] = random.choice(VALUES)
    else:
        value = random.choice(VALUES)
    return request._replace(body=json.dumps(value).encode())


def send(client: TestClient, request: Made) -> int:
    answer = client.post(
        request.path,
        params=request.query,
        content=request.body,
        headers={"Content-Type": request.kind.encode("latin-1")},
    )
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, (answer.text, request)
    if answer.status_code != 200:
        assert isinstance(answer.json()["detail"], str), request
    return answer.status_code


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_every_mutated_request_is_answered(count: int) -> None:
    random, statuses = Random(count), Counter[int]()
    valid = valid_requests()
    options = ServiceOptions(Limits(max_megapixels=1, timeout=20))
    with client_of(make_service(options=options)) as client:
        for request in valid:
            assert send(client, request) == 200
        for _ in range(count):
            statuses[send(client, mutated(random.choice(valid), random))] += 1
        assert send(client, valid[0]) == 200  # the service still works
        assert client.get("/ready").status_code == 200
    assert sum(each for status, each in statuses.items() if status != 200) > count / 3
    assert {415, 422} < set(statuses)
