"""Requests that one process receives and another one answers, as plain records."""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.types import ASGIApp, Message

from centernet2.serve.connections import read_body, unless_left
from centernet2.serve.limits import Limits
from centernet2.serve.refusals import CLIENT_LEFT, ClientLeft, Refused

ATTEMPTS = 3  # a request that has ended so many replicas is refused
Headers = Sequence[tuple[bytes, bytes]]
logger = logging.getLogger(__name__)


class ForwardedRequest(NamedTuple):
    """A request whose body is read."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes


class ForwardedAnswer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: Headers
    body: bytes

    def response(self) -> Response:
        response = Response(self.body, self.status)
        response.raw_headers = [*self.headers]
        return response


async def read_request(request: Request, limits: Limits) -> ForwardedRequest:
    """Read a request; it raises what `read_body` raises."""
    scope, body = request.scope, await read_body(request, limits)
    headers = tuple((bytes(name), bytes(value)) for name, value in scope["headers"])
    return ForwardedRequest(scope["method"], scope["path"], scope["query_string"], headers, body)


async def answer_with(app: ASGIApp, request: ForwardedRequest) -> ForwardedAnswer:
    """Return the answer of an application; a cancelled call is a client that has left."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": None,
        "server": None,
    }
    messages = iter([{"type": "http.request", "body": request.body, "more_body": False}])
    sent: list[Message] = []

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()  # until the call is cancelled
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    body = b"".join(part.get("body", b"") for part in parts)
    return ForwardedAnswer(start["status"], tuple(start["headers"]), body)


class Ingress:
    """Give each request to a replica of the service, and to another if that one ends.

    Args:
        replicas: its method `remote` gives a `ForwardedRequest` to a replica.
        limits: of the service.
        lost: errors of a replica that has ended before its answer.
        full: error if all replicas have as many requests as they take.
    """

    def __init__(
        self,
        replicas: Any,
        limits: Limits,
        lost: tuple[type[Exception], ...],
        full: type[Exception],
    ) -> None:
        self._replicas, self._limits, self._lost, self._full = replicas, limits, lost, full

    async def __call__(self, request: Request) -> Response:
        try:
            forwarded = await read_request(request, self._limits)
            seconds = ATTEMPTS * self._limits.timeout
            return (await unless_left(request, self._ask(forwarded), seconds)).response()
        except Refused as refused:
            return refused.response()
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    async def _ask(self, request: ForwardedRequest) -> ForwardedAnswer:
        for _ in range(ATTEMPTS):
            try:
                answer: ForwardedAnswer = await self._replicas.remote(request)
                return answer
            except self._lost as error:
                logger.warning("a replica has ended before its answer (%s)", error)
            except self._full:
                raise Refused(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "all replicas have as many requests as they take; try again later",
                    retry_after=1,
                ) from None
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{ATTEMPTS} replicas have ended on this request; their logs say why",
        )
