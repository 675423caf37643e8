"""The service on Ray Serve: its options, and the loss of a replica under load."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service_clients import ask, free_port, make_image
from centernet2.builders.service.ray_serving import RayOptions, parse_options
from centernet2.builders.service.ray_serving import app as application
from centernet2.commands import app
from tests.helpers.jobs import save_untrained
from tests.helpers.ray_cluster import cluster  # noqa: F401
from tests.helpers.serving import wait_until

CLIENTS, SECONDS = 6, 300


def test_options_of_a_command_line_are_texts() -> None:
    options = parse_options(
        {"weights": "a.onnx", "batch_size": "4", "timeout": "2.5", "compare": "b.onnx c.onnx"}
    )
    assert (options.weights, options.batch_size, options.timeout) == ("a.onnx", 4, 2.5)
    assert list(options.compare) == ["b.onnx", "c.onnx"]


def test_all_options_of_the_command_are_arguments() -> None:
    """Except those of one process: its address, and videos."""
    options = app["serve"].assemble_argument_collection()
    given = [each.name for each in options if each.name.startswith("--")]
    names = {name.removeprefix("--").replace("-", "_") for name in given}
    known = {each.name for each in fields(RayOptions)}
    assert {"abstain", "config_file", "max_queue"} <= names
    assert names - known - {"host", "port"} == set()
    assert parse_options({"weights": "a.onnx", "abstain": "true"}).abstain


@pytest.mark.parametrize(("args", "message"), [
    ({}, "weights is empty"),
    ({"weights": "a.onnx", "batchsize": 4}, "no option 'batchsize'; did you mean 'batch_size'"),
    ({"weights": "a.onnx", "batch_size": "four"}, "batch_size is 'four': Input should be"),
    ({"weights": "a.onnx", "max_queue": 0}, "max_queue is 0; it takes"),
    ({"weights": "a.onnx", "max_replicas": 0}, "max_replicas is 0: Input should be"),
    ({"weights": "a.onnx", "camera": ["door=rtsp://10.0.0.7/"]}, "videos are of one process"),
])  # fmt: skip
def test_wrong_option_is_one_sentence(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(args)


@contextmanager
def asked_without_a_pause(port: int) -> Iterator["Counter[str]"]:
    """Let clients ask until the end of the block; yield the counts of statuses."""
    image, counts, done = make_image(), Counter[str](), threading.Event()

    def repeat() -> None:
        while not done.is_set():
            counts[ask(port, image)] += 1

    threads = [threading.Thread(target=repeat) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.long
def test_loss_of_a_replica_under_load_loses_no_request(tmp_path: Path, cluster: Any) -> None:
    ray = pytest.importorskip("ray", reason="it needs Ray: pip install 'centernet2[ray]'")
    from ray import serve

    def replicas() -> set[str]:
        actors = ray.util.list_named_actors(all_namespaces=True)
        return {each["name"] for each in actors if "#Detector#" in each["name"]}

    weights, port = save_untrained(tmp_path / "pets.pth"), free_port()
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"port": port})
        serve.run(application({"weights": str(weights), "device": "cpu", "min_replicas": 2}))
        first = replicas()
        assert len(first) == 2
        with asked_without_a_pause(port) as counts:
            wait_until(lambda: counts.total() >= 10, SECONDS)
            lost = min(first)
            ray.kill(ray.get_actor(lost, namespace="serve"))
            before = counts.total()
            wait_until(lambda: counts.total() >= before + 4 * CLIENTS, SECONDS)
            wait_until(lambda: len(replicas() - {lost}) >= 2, SECONDS)  # Serve starts another one
        assert set(counts) == {"200"}
    finally:
        serve.shutdown()
        ray.shutdown()
