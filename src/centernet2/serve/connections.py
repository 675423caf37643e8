"""Connections of clients: bodies within limits, and clients that leave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import TypeVar

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from centernet2.serve.limits import Limits
from centernet2.serve.refusals import CLIENT_LEFT, ClientLeft, Refused
from centernet2.serve.service_metrics import ServiceMetrics

T = TypeVar("T")
HEADERS = (  # of every answer; a page of another site cannot frame ours or guess types
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


async def body_parts(request: Request, limits: Limits, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body of a request as it arrives; larger ones may take longer.

    Raises:
        Refused: it is compressed, too large, or takes too long.
        ClientLeft: it breaks off.
    """
    coding = request.headers.get("content-encoding", "").strip() or "identity"
    if coding.lower() != "identity":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the content encoding is '{coding[:80]}'; send the body without compression",
        )
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise _too_large(max_bytes)
    loop = asyncio.get_running_loop()
    allowed = limits.timeout * max(1.0, max_bytes / limits.max_bytes)
    deadline, size = loop.time() + allowed, 0
    while True:
        try:
            message = await asyncio.wait_for(request.receive(), max(deadline - loop.time(), 0.001))
        except asyncio.TimeoutError:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the request has not arrived within {allowed:g} s",
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield part
        if not message.get("more_body", False):
            return


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request; it raises what `body_parts` raises."""
    return b"".join([part async for part in body_parts(request, limits, limits.max_bytes)])


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request is larger than {max_bytes / 1e6:g} MB; send smaller or fewer images",
    )


async def unless_left(request: Request, work: Awaitable[T], seconds: float) -> T:
    """Await work for a request whose body is read, unless its client leaves.

    Raises:
        ClientLeft: the client has left.
        Refused: the work takes longer than `seconds`.
    """
    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        done, _ = await asyncio.wait(
            (task, watch), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if task in done:
            return task.result()
        if watch in done:
            raise ClientLeft
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"there is no answer within {seconds:g} s; try again later",
            retry_after=max(1, round(seconds)),
        )
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Connections:
    """Middleware: headers and counts of all answers."""

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
                if scope["method"] == "POST":
                    self._count(message["status"])
            await send(message)

        await self.app(scope, receive, send_counted if scope["type"] == "http" else send)

    def _count(self, status: int) -> None:
        if status == CLIENT_LEFT:
            self.metrics.cancelled.inc()
        elif status >= HTTPStatus.BAD_REQUEST:
            self.metrics.refused.labels(status).inc()
        else:
            self.metrics.answered.inc()
