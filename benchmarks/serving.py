"""Requests per second and latency of the service, with batches / one image at a time.

python benchmarks/serving.py [--weights FILE] [--clients 1 4 16 64] [--seconds 5] [--runs 3]

Both services run in processes of their own on the loopback address, and are asked in turn, so that
other load affects them alike. Without weights, a small untrained detector is served.
"""

import json
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import NamedTuple

from harness import machine, spread
from service_clients import HOST, JPEG, make_image, parser_of, served_weights, start_service


class Answers(NamedTuple):
    """What clients have seen."""

    latencies: list[float]  # seconds of each answered request
    seconds: float  # until the last answer

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def load(port: int, image: bytes, clients: int, seconds: float) -> Answers:
    """Let clients ask without a pause for some seconds, and wait for their last answers."""
    latencies: list[float] = []
    begun = time.monotonic()
    end = begun + seconds

    def client() -> None:
        connection = HTTPConnection(HOST, port, timeout=60)
        while (started := time.monotonic()) < end:
            connection.request("POST", "/detect", image, {"Content-Type": JPEG})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                latencies.append(time.monotonic() - started)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Answers(latencies, time.monotonic() - begun)


def percentile(latencies: Sequence[float], share: float) -> float:
    return sorted(latencies)[min(len(latencies) - 1, int(share * len(latencies)))]


def measure(ports: dict[str, int], image: bytes, clients: int, seconds: float, runs: int) -> None:
    """Print requests per second and latency of both services, and the ratio of each pair."""
    found: dict[str, list[Answers]] = {name: [] for name in ports}
    for _ in range(runs):
        for name, port in ports.items():
            found[name].append(load(port, image, clients, seconds))
    batched, single = found.values()
    latencies = {
        name: [each for answers in own for each in answers.latencies] for name, own in found.items()
    }
    results = {
        "benchmark": "serving",
        "clients": clients,
        "requests_per_second": {
            name: spread([each.rate for each in own]) for name, own in found.items()
        },
        "p50": {name: round(percentile(own, 0.5), 4) for name, own in latencies.items()},
        "p99": {name: round(percentile(own, 0.99), 4) for name, own in latencies.items()},
        "ratio": {
            "batches / single images, requests per second": spread(
                [a.rate / b.rate for a, b in zip(batched, single, strict=True)]
            )
        },
        "runs": runs,
        **machine(),
    }
    print(json.dumps(results), flush=True)


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    image = make_image()
    with (
        served_weights(arguments.weights, "WARNING") as weights,
        start_service(weights, "--batch-size", "8") as (batched, _),
        start_service(weights, "--batch-size", "1") as (single, _),
    ):
        ports = {"batches": batched, "single images": single}
        for port in ports.values():
            load(port, image, 4, 1.0)  # warm up
        for clients in arguments.clients:
            measure(ports, image, clients, arguments.seconds, arguments.runs)


if __name__ == "__main__":
    main()
