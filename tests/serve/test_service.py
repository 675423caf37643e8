"""The life of a service."""

import asyncio
import os
import threading

import pytest

from centernet2.serve import service as service_module
from centernet2.serve.addresses import AddressRules
from centernet2.serve.service import Service
from tests.helpers.serving import (
    StandIn,
    client_of,
    encode,
    make_model,
    make_service,
    wait_until,
)


def test_a_service_ends_while_it_warms_up() -> None:
    first = StandIn()
    first.may_run.clear()

    async def main() -> None:
        service = Service([make_model("first", first), make_model("second")])
        await service.start()
        await asyncio.sleep(0.05)  # the first model is seeing its image
        asyncio.get_running_loop().call_later(0.05, first.may_run.set)
        await asyncio.wait_for(service.stop(), 10)
        assert not service.is_ready

    asyncio.run(main())


def test_slow_hosts_keep_no_image_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    def fetch(url: str, rules: AddressRules, headers: dict[str, str] | None) -> bytes:
        may_answer.wait(30)
        return b""

    monkeypatch.setattr(service_module, "fetch", fetch)

    async def main() -> None:
        service = Service([make_model("only")])
        await service.start()
        number = max(2, os.cpu_count() or 2)  # of those who decode
        fetching = [asyncio.create_task(service.fetch("http://host/a")) for _ in range(number)]
        await asyncio.sleep(0.05)
        decoded = service.decoded(encode())
        (image,) = await asyncio.wait_for(decoded.__aenter__(), 10)
        assert image.shape == (60, 80, 3)
        await decoded.__aexit__(None, None, None)
        may_answer.set()
        await asyncio.gather(*fetching)
        await service.stop()

    asyncio.run(main())


def test_device_that_fails_is_not_ready_until_it_works_again() -> None:
    predictor = StandIn()
    service = make_service(predictor)
    with client_of(service) as client:

        def ask() -> int:
            content, headers = encode(0), {"Content-Type": "image/png"}
            status: int = client.post("/detect", content=content, headers=headers).status_code
            return status

        def ready() -> int:
            status: int = client.get("/ready").status_code
            return status

        assert (ask(), ready()) == (200, 200)
        predictor.bad_value = 0  # of the blank image, too
        assert ask() == 500
        wait_until(lambda: ready() == 503)
        predictor.bad_value = None
        wait_until(lambda: ready() == 200)
        assert ask() == 200
