"""Requests per second and latency of the service, with batches / one image at a time.

python benchmarks/serving.py [--weights FILE] [--clients 1 4 16 64] [--seconds 5] [--runs 3]

Both services run in processes of their own on the loopback address, and are asked in turn, so that
other load affects them alike. Without weights, a small untrained detector is served.
"""

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import machine, spread
from PIL import Image

HOST = "127.0.0.1"
SIZE = (120, 160)  # height and width of the image that is sent
START_SECONDS = 180


def free_port() -> int:
    with socket.socket() as own:
        own.bind((HOST, 0))
        port: int = own.getsockname()[1]
        return port


def is_ready(port: int) -> bool:
    try:
        connection = HTTPConnection(HOST, port, timeout=5)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


@contextmanager
def start_service(weights: Path, *options: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Start a service that is ready; yield its port and process, which is ended by SIGTERM."""
    port = free_port()
    words = ["serve", "--weights", str(weights), "--port", str(port), "--device", "cpu", *options]
    process = subprocess.Popen([sys.executable, "-m", "centernet2", *words])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the service has not started")
            time.sleep(0.2)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def make_image() -> bytes:
    """Return a JPEG file of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def save_untrained(folder: Path) -> Path:
    """Write a checkpoint of a small detector with random weights."""
    import torch

    import centernet2
    from centernet2.checkpoint import Checkpoint, save_checkpoint
    from centernet2.structures import ModelInfo

    torch.manual_seed(0)
    keys = {"INPUT.MIN_SIZE_TEST": 120, "INPUT.MAX_SIZE_TEST": 160}
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", keys))
    names = tuple(str(label) for label in range(model.num_classes))
    info = ModelInfo(class_names=names, config=model.info.config)
    path = folder / "untrained.pth"
    save_checkpoint(path, Checkpoint(model.state_dict(), info, iteration=1, metrics={}))
    return path


class Answers(NamedTuple):
    """What clients have seen."""

    latencies: list[float]  # seconds of each answered request
    seconds: float  # until the last answer

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def ask(port: int, image: bytes, clients: int, seconds: float) -> Answers:
    """Let clients ask without a pause for some seconds, and wait for their last answers."""
    latencies: list[float] = []
    begun = time.monotonic()
    end = begun + seconds

    def client() -> None:
        connection = HTTPConnection(HOST, port, timeout=60)
        while (started := time.monotonic()) < end:
            connection.request("POST", "/detect", image, {"Content-Type": "image/jpeg"})
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
            found[name].append(ask(port, image, clients, seconds))
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.setdefault("CENTERNET2_LOG_LEVEL", "WARNING")
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.weights or save_untrained(Path(folder))
        image = make_image()
        with (
            start_service(weights, "--batch-size", "8") as (batched, _),
            start_service(weights, "--batch-size", "1") as (single, _),
        ):
            ports = {"batches": batched, "single images": single}
            for port in ports.values():
                ask(port, image, 4, 1.0)  # warm up
            for clients in arguments.clients:
                measure(ports, image, clients, arguments.seconds, arguments.runs)


if __name__ == "__main__":
    main()
