"""Batches: who shares a forward pass, who waits how long, and who leaves."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from centernet2.serve.batching import Batcher, BatchOptions
from centernet2.serve.limits import Gate
from centernet2.serve.service_metrics import ServiceMetrics
from tests.helpers.serving import StandIn

Test = Callable[[Batcher, StandIn], Coroutine[Any, Any, None]]


def image(value: int = 0, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def run(test: Test, options: BatchOptions, predictor: StandIn | None = None) -> StandIn:
    """Run a test with a batcher that ends with it; return its predictor."""
    own = predictor or StandIn()

    async def main() -> None:
        batcher = Batcher(
            lambda images, floor: own(images, score_threshold=floor),
            lambda height, width: (height, width),
            device=device, options=options, gate=Gate(64, 10**6), metrics=ServiceMetrics(),
        )  # fmt: skip
        task = asyncio.create_task(batcher.run())
        await test(batcher, own)
        batcher.close()
        await task

    with ThreadPoolExecutor(1) as device:
        asyncio.run(asyncio.wait_for(main(), 30))
    return own


def test_images_of_one_size_share_a_batch() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        sizes = [(8, 8), (8, 16), (8, 8), (8, 16), (8, 8)]
        found = await asyncio.gather(*(batcher.detect(image(0, size), 0.0) for size in sizes))
        assert [each.size for each in found] == sizes

    assert sorted(run(test, BatchOptions(8, 0.05)).batches) == [2, 3]


def test_full_batch_does_not_wait() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        await asyncio.gather(*(batcher.detect(image(), 0.0) for _ in range(4)))

    started = time.monotonic()
    assert run(test, BatchOptions(2, max_wait=20)).batches == [2, 2]
    assert time.monotonic() - started < 10


def test_lone_image_waits_no_longer_than_stated() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        await asyncio.wait_for(batcher.detect(image(), 0.0), 10)

    assert run(test, BatchOptions(8, max_wait=0.01)).batches == [1]


def test_no_size_starves_behind_a_common_one() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        predictor.may_run.clear()
        first = asyncio.create_task(batcher.detect(image(1), 0.0))  # occupies the device
        await asyncio.sleep(0.05)
        rare = asyncio.create_task(batcher.detect(image(2, (8, 16)), 0.0))
        await asyncio.sleep(0)
        common = [asyncio.create_task(batcher.detect(image(3), 0.0)) for _ in range(4)]
        await asyncio.sleep(0.05)
        predictor.may_run.set()
        await asyncio.gather(first, rare, *common)

    assert run(test, BatchOptions(2, 0.001)).seen == [1, 2, 3, 3, 3, 3]


def test_image_that_leaves_costs_no_forward_pass() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        predictor.may_run.clear()
        first = asyncio.create_task(batcher.detect(image(1), 0.0))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batcher.detect(image(value), 0.0)) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        others[1].cancel()
        predictor.may_run.set()
        await asyncio.gather(first, others[0], others[2])

    assert run(test, BatchOptions(8, 0.001)).seen == [1, 2, 4]


def test_image_that_fails_does_not_fail_its_neighbors() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        images = [image(1), image(7), image(2)]
        found = await asyncio.gather(
            *(batcher.detect(each, 0.0) for each in images), return_exceptions=True
        )
        assert [isinstance(each, RuntimeError) for each in found] == [False, True, False]

    run(test, BatchOptions(8, 0.05), StandIn(bad_value=7))


def test_image_that_leaves_a_failing_batch_is_not_run_alone() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        predictor.may_run.clear()
        failing, left = (asyncio.create_task(batcher.detect(image(value), 0.0)) for value in (7, 1))
        await asyncio.sleep(0.05)
        left.cancel()
        predictor.may_run.set()
        await asyncio.gather(failing, left, return_exceptions=True)

    assert run(test, BatchOptions(2, 0.001), StandIn(bad_value=7)).seen == [7, 1, 7]


def test_lowest_threshold_of_a_batch_is_detected() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        low, high = await asyncio.gather(batcher.detect(image(), 0.1), batcher.detect(image(), 0.8))
        assert (len(low), len(high)) == (3, 3)  # the service selects for each request

    run(test, BatchOptions(2, 1.0))


def test_close_answers_all_that_wait() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        waiting = [asyncio.create_task(batcher.detect(image(), 0.0)) for _ in range(3)]
        await asyncio.sleep(0)
        batcher.close()
        assert len(await asyncio.gather(*waiting)) == 3

    assert run(test, BatchOptions(8, max_wait=20)).batches == [3]


def test_event_loop_is_free_during_a_forward_pass() -> None:
    async def test(batcher: Batcher, predictor: StandIn) -> None:
        predictor.may_run.clear()
        task = asyncio.create_task(batcher.detect(image(), 0.0))
        await asyncio.sleep(0.05)  # the forward pass has begun, and this still runs
        predictor.may_run.set()
        await task

    assert run(test, BatchOptions(1, 0.0)).batches == [1]
