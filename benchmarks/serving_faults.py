"""Mixed load with faults: bad requests, clients that are killed, slow senders and slow readers.

python benchmarks/serving_faults.py [--weights FILE] [--minutes 1] [--clients 4]

All on the loopback address. It prints the statuses of each kind of client, how many accepted
requests were lost, and the resident memory of the service over time. At the end, the service gets
SIGTERM under load.
"""

import json
import random
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse

import psutil
from service_clients import HOST, JPEG, ask, make_image, parser_of, served_weights, start_service

HEAD = (
    "POST /detect{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    "Content-Length: {}\r\n\r\n"
)
AS_PICTURE = "?format=png"
LARGE = (1200, 1600)  # of an image whose picture fills the buffers of a connection
RECEIVE_BUFFER = 1 << 14  # bytes
FEW = 0.2  # seconds between two requests of a client with faults
PATIENCE = 90  # seconds for an answer
NEVER = 40  # seconds without reading, more than the --timeout of the service
QUARTERS = 4  # of the time, for memory


class Load:
    """Clients of every kind until a time, and what became of their requests."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port, self.image, self.large = port, make_image(), make_image(LARGE)
        self.end = time.monotonic() + seconds
        self.statuses: dict[str, Counter[str]] = {}

    def run(self, clients: int) -> list[threading.Thread]:
        """Start the clients; return their threads."""
        kinds: list[Callable[[random.Random], str]] = [self.good] * clients
        kinds += [self.bad, self.killed, self.slow_sender, self.slow_reader, self.never_reader]
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

    def good(self, rng: random.Random) -> str:
        return ask(self.port, self.image)

    def bad(self, rng: random.Random) -> str:
        time.sleep(FEW)
        body = bytearray(self.image)
        for _ in range(20):
            body[rng.randrange(len(body))] = rng.randrange(256)
        media = rng.choice([JPEG, "application/json", "multipart/form-data", "text/plain"])
        query = rng.choice(["", "?score_threshold=x", "?classes=nothing", "?other=1"])
        return ask(self.port, bytes(body[: rng.randrange(len(body))]), media, query)

    def _send(self, body: bytes, size: int, query: str = "") -> socket.socket:
        client = socket.socket()
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        client.connect((HOST, self.port))
        client.sendall(HEAD.format(query, size).encode() + body)
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
            return _status(client)

    def slow_reader(self, rng: random.Random) -> str:
        """Read a picture in parts, with pauses."""
        with self._send(self.large, len(self.large), AS_PICTURE) as client:
            return _status(client, pause=FEW / 20)

    def never_reader(self, rng: random.Random) -> str:
        """Read nothing until the service has given up, which is after its --timeout."""
        with self._send(self.large, len(self.large), AS_PICTURE) as client:
            time.sleep(NEVER)
            return _status(client).replace("lost", "given up")


def _status(client: socket.socket, pause: float = 0.0) -> str:
    """Read an answer to its end; return its status, or how it was lost."""
    answer = HTTPResponse(client)
    try:
        answer.begin()
        while answer.read1(RECEIVE_BUFFER):
            time.sleep(pause)
        return "lost (cut off)" if answer.length else str(answer.status)
    except (OSError, HTTPException) as error:
        return f"lost ({type(error).__name__})"
    finally:
        answer.close()


def watch_memory(process: psutil.Process, end: float) -> list[float]:
    """Return the resident memory in MiB, once a second."""
    found = []
    while time.monotonic() < end:
        found.append(process.memory_info().rss / 2**20)
        time.sleep(1)
    return found


def main() -> None:
    parser = parser_of(__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    with (
        served_weights(arguments.weights, "ERROR") as weights,
        start_service(weights) as (port, process),
    ):
        load = Load(port, 60 * arguments.minutes)
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
