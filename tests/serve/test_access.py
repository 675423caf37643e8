"""The token, and the headers of every answer."""

import base64

import pytest

from centernet2.serve.service import ServiceOptions
from tests.helpers.serving import client_of, encode, make_service

TOKEN = "a long secret"
PNG = {"Content-Type": "image/png"}
BASIC = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
OPEN = ("/health", "/ready", "/", "/docs", "/openapi.json")


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {BASIC}"])
def test_token_opens_the_service(header: str) -> None:
    with client_of(make_service(options=ServiceOptions(token=TOKEN))) as client:
        headers = PNG | {"Authorization": header}
        assert client.post("/detect", content=encode(), headers=headers).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", f"Digest {TOKEN}", "Basic %"])
def test_other_requests_get_401(header: str | None) -> None:
    with client_of(make_service(options=ServiceOptions(token=TOKEN))) as client:
        headers = PNG if header is None else PNG | {"Authorization": header}
        answer = client.post("/detect", content=encode(), headers=headers)
        assert (answer.status_code, "needs its token" in answer.text) == (401, True)
        assert "Bearer" in answer.headers["WWW-Authenticate"]
        for path in ("/models", "/metrics"):
            assert client.get(path, headers=headers).status_code == 401
        assert [client.get(path).status_code for path in OPEN] == [200] * len(OPEN)


def test_answers_cannot_be_framed_or_guessed() -> None:
    with client_of(make_service()) as client:
        for path in OPEN:
            headers = client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
