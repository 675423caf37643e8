"""Requests that are not answered: status codes, and a sentence for the client."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

CLIENT_LEFT = 499  # of nginx; nobody reads it
MAX_SHOWN = 200  # characters of a client's value in a message
logger = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is refused.

    Args:
        reason: a sentence that says what is wrong and what to do.
        retry_after: seconds after which the client may try again; None: it should not.
    """

    def __init__(self, status: HTTPStatus, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    def response(self) -> Response:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"detail": self.reason}, self.status, headers)


class ClientLeft(Exception):
    """The client has closed its connection before the answer."""


def unprocessable(reason: str) -> Refused:
    """Return the refusal of a request whose content cannot be used."""
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, reason)


def describe_invalid(error: ValidationError | RequestValidationError) -> str:
    """Return the first problem of options as a sentence."""
    first = error.errors()[0]
    places = [str(part) for part in first["loc"] if part not in ("query", "body", "path")]
    name = places[0] if places else "the request"
    if first["type"] == "extra_forbidden":
        return f"there is no option '{name[:MAX_SHOWN]}'; /docs lists them"
    given = repr(first.get("input"))[:MAX_SHOWN]
    return f"{name} is {given}: {first['msg'].removeprefix('Value error, ')}"


def install(app: FastAPI) -> None:
    """Answer each exception of a request by JSON with a sentence as `detail`."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(ClientLeft)
    async def left(request: Request, error: ClientLeft) -> Response:
        return Response(status_code=CLIENT_LEFT)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return unprocessable(describe_invalid(error)).response()

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        reason = "the service has failed on this request; its log says why"
        return JSONResponse({"detail": reason}, HTTPStatus.INTERNAL_SERVER_ERROR)
