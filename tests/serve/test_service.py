"""The life of a service."""

import asyncio

from centernet2.serve.service import Service
from tests.helpers.serving import StandIn, make_model


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
