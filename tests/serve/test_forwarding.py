"""Requests that an ingress gives to replicas of the service, some of which end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from centernet2.serve.application import create_app
from centernet2.serve.forwarding import (
    ATTEMPTS,
    ForwardedAnswer,
    ForwardedRequest,
    Ingress,
    answer_with,
)
from centernet2.serve.limits import Limits
from tests.helpers.serving import encode, make_service, wait_until

PNG = {"Content-Type": "image/png"}


class Lost(Exception):
    """A replica has ended."""


class Full(Exception):
    """All replicas are full."""


class Replicas:
    """A replica, whose first calls end by errors."""

    def __init__(self, app: FastAPI, errors: list[type[Exception]]) -> None:
        self.app, self.errors, self.calls = app, errors, 0

    async def remote(self, request: ForwardedRequest) -> ForwardedAnswer:
        self.calls += 1
        if self.errors:
            raise self.errors.pop()
        return await answer_with(self.app, request)


@contextmanager
def clients_of(*errors: type[Exception]) -> Iterator[tuple[TestClient, Replicas]]:
    """Yield a client of an ingress, and its replicas."""
    service = make_service()
    app = create_app(service, is_replica=True)
    replicas = Replicas(app, [*errors])
    ingress = Ingress(replicas, Limits(max_megabytes=0.01), (Lost,), Full)
    outer = FastAPI(lifespan=lambda _: app.router.lifespan_context(app))

    @outer.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def forward(request: Request) -> Response:
        return await ingress(request)

    with TestClient(outer, raise_server_exceptions=False) as client:
        wait_until(lambda: service.is_ready)
        yield client, replicas


def test_answers_are_those_of_the_service() -> None:
    with clients_of() as (client, _):
        found = client.post("/detect?score_threshold=0.6", content=encode(), headers=PNG)
        assert [each["class"] for each in found.json()["detections"]] == ["dog"]
        assert found.headers["X-Frame-Options"] == "DENY"
        drawn = client.post("/detect", content=encode(), headers=PNG | {"Accept": "image/png"})
        assert drawn.content.startswith(b"\x89PNG")
        assert client.get("/").text.startswith("<!doctype html>")
        assert client.get("/ready").json() == {"ready": True}
        refused = client.post("/detect", content=b"x", headers=PNG)
        assert (refused.status_code, "no image" in refused.json()["detail"]) == (415, True)


def test_what_belongs_to_one_process_is_not_there() -> None:
    with clients_of() as (client, _):
        assert client.get("/metrics").status_code == 404
        assert client.post("/videos", content=b"x").status_code == 404
        assert "/videos" not in client.get("/openapi.json").json()["paths"]


def test_request_of_a_lost_replica_is_asked_again() -> None:
    with clients_of(Lost, Lost) as (client, replicas):
        assert client.post("/detect", content=encode(), headers=PNG).status_code == 200
        assert replicas.calls == 3


def test_request_that_ends_replicas_again_and_again_is_503() -> None:
    with clients_of(*[Lost] * 9) as (client, replicas):
        refused = client.post("/detect", content=encode(), headers=PNG)
        assert (refused.status_code, replicas.calls) == (503, ATTEMPTS)
        assert "have ended on this request" in refused.json()["detail"]


@pytest.mark.parametrize(("errors", "status"), [([Full], 429), ([ValueError], 500)])
def test_other_errors_are_not_repeated(errors: list[type[Exception]], status: int) -> None:
    with clients_of(*errors) as (client, replicas):
        answer = client.post("/detect", content=encode(), headers=PNG)
        assert (answer.status_code, replicas.calls) == (status, 1)


def test_body_that_is_too_large_reaches_no_replica() -> None:
    with clients_of() as (client, replicas):
        answer = client.post("/detect", content=bytes(20_000), headers=PNG)
        assert (answer.status_code, replicas.calls) == (413, 0)
