"""Mixed load with faults: bad requests, clients that are killed, slow senders and slow readers.

python benchmarks/serving_faults.py [--weights FILE] [--minutes 1] [--clients 4]

All on the loopback address. It prints the statuses of each kind of client, how many accepted
requests were lost, and the resident memory of the service over time. At the end, the service gets
SIGTERM under load.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from serving import HOST, make_image, save_untrained, start_service

HEAD = "POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {}"
FEW = 0.2  # seconds between two requests of a client with faults
QUARTERS = 4  # of the time, for memory


class Load:
    """Clients of every kind until a time, and what became of their requests."""

    def __init__(self, port: int, image: bytes, seconds: float) -> None:
        self.port, self.image = port, image
        self.end = time.monotonic() + seconds
        self.statuses: dict[str, Counter[str]] = {}

    def run(self, clients: int) -> list[threading.Thread]:
        """Start the clients; return their threads."""
        kinds: list[Callable[[random.Random], str]] = [self.good] * clients
        kinds += [self.bad, self.killed, self.slow_sender, self.slow_reader]
        threads = [
            threading.Thread(target=self._repeat, args=(kind, random.Random(seed)))
            for seed, kind in enumerate(kinds)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _repeat(self, kind: Callable[[random.Random], str], rng: random.Random) -> None:
        counts = self.statuses.setdefault(kind.__name__, Counter())
        while time.monotonic() < self.end:
            try:
                counts[kind(rng)] += 1
            except ConnectionRefusedError:  # the service is ending
                counts["not accepted"] += 1
                time.sleep(FEW)

    def _ask(self, body: bytes, media: str) -> str:
        connection = HTTPConnection(HOST, self.port, timeout=60)
        connection.connect()
        try:
            connection.request("POST", "/detect", body, {"Content-Type": media})
            answer = connection.getresponse()
            answer.read()
            return str(answer.status)
        except (OSError, HTTPException) as error:
            return f"lost ({type(error).__name__})"
        finally:
            connection.close()

    def good(self, rng: random.Random) -> str:
        return self._ask(self.image, "image/jpeg")

    def bad(self, rng: random.Random) -> str:
        time.sleep(FEW)
        body = bytearray(self.image)
        for _ in range(20):
            body[rng.randrange(len(body))] = rng.randrange(256)
        media = rng.choice(["image/jpeg", "application/json", "multipart/form-data", "text/plain"])
        return self._ask(bytes(body[: rng.randrange(len(body))]), media)

    def _send(self, body: bytes, size: int) -> socket.socket:
        client = socket.create_connection((HOST, self.port), 30)
        client.sendall(HEAD.format(size).encode() + b"\r\n\r\n" + body)
        return client

    def killed(self, rng: random.Random) -> str:
        """Leave after a part of the request, or before its answer."""
        time.sleep(FEW)
        part = rng.choice([len(self.image) // 2, len(self.image)])
        with self._send(self.image[:part], len(self.image)):
            time.sleep(rng.uniform(0, 0.05))
        return "left"

    def slow_sender(self, rng: random.Random) -> str:
        with self._send(b"", len(self.image)) as client:
            for start in range(0, len(self.image), 2000):
                client.sendall(self.image[start : start + 2000])
                time.sleep(FEW / 4)
            return client.recv(12).decode()[9:] or "closed"

    def slow_reader(self, rng: random.Random) -> str:
        with self._send(self.image, len(self.image)) as client:
            time.sleep(5 * FEW)
            return client.recv(12).decode()[9:] or "closed"


def watch_memory(process: psutil.Process, end: float) -> list[float]:
    """Return the resident memory in MiB, once a second."""
    found = []
    while time.monotonic() < end:
        found.append(process.memory_info().rss / 2**20)
        time.sleep(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    os.environ.setdefault("CENTERNET2_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.weights or save_untrained(Path(folder))
        with start_service(weights) as (port, process):
            load = Load(port, make_image(), 60 * arguments.minutes)
            threads = load.run(arguments.clients)
            memory = watch_memory(psutil.Process(process.pid), load.end - 1)
            process.send_signal(signal.SIGTERM)  # the clients still ask
            for thread in threads:
                thread.join()
            code = process.wait(60)
    part = max(1, len(memory) // QUARTERS)
    lost = sum(
        count
        for counts in load.statuses.values()
        for status, count in counts.items()
        if status.startswith("lost")
    )
    results = {
        "benchmark": "serving with faults",
        "minutes": arguments.minutes,
        "statuses": {kind: dict(counts) for kind, counts in load.statuses.items()},
        "lost": lost,
        "exit_code": code,
        "memory_mib": [
            round(statistics.median(memory[start : start + part]), 1)
            for start in range(0, len(memory) - part + 1, part)
        ],
    }
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
