"""Who may ask: an optional token."""

import base64
import hmac
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from centernet2.serve.service import Service

SCHEMES = {"WWW-Authenticate": 'Bearer, Basic realm="centernet2"'}


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


OwnService = Annotated[Service, Depends(_service_of)]  # that a request is for


async def require_token(request: Request, service: OwnService) -> None:
    """Refuse a request without the token of the service, if it has one.

    The token is a bearer token, or the password of basic authentication.
    """
    token = service.options.token
    if token is None:
        return
    given = _given(request.headers.get("authorization", ""))
    if not hmac.compare_digest(given, token.encode()):
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            "the service needs its token, as by the header 'Authorization: Bearer TOKEN'",
            SCHEMES,
        )


def _given(header: str) -> bytes:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if scheme.lower() == "basic":
        with suppress(ValueError):  # it is no base64
            return base64.b64decode(value, validate=True).partition(b":")[2]
    return b""
