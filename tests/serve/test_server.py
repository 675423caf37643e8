"""A server on a port: clients that leave, wait or do not read, and the end of the service."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service_clients import start_service
from centernet2.serve.batching import BatchOptions
from centernet2.serve.limits import Limits
from centernet2.serve.server import bind
from centernet2.serve.service import Service, ServiceOptions
from tests.helpers.jobs import save_untrained
from tests.helpers.serving import (
    HOST,
    StandIn,
    encode,
    encode_noise,
    make_service,
    serving,
    wait_until,
)


def send(port: int, value: int = 128, path: str = "/detect") -> HTTPConnection:
    connection = HTTPConnection(HOST, port, timeout=30)
    connection.request("POST", path, encode(value), {"Content-Type": "image/png"})
    return connection


def ask(port: int, value: int = 128) -> HTTPResponse:
    return send(port, value).getresponse()


def held_request(predictor: StandIn, service: Service, port: int) -> HTTPConnection:
    """Send a request whose forward pass begins, and lasts until the predictor may run."""
    predictor.may_run.clear()
    sent = send(port, 1)
    wait_until(lambda: service.gate.count == 1)
    time.sleep(0.1)
    return sent


def test_client_that_leaves_costs_no_forward_pass() -> None:
    predictor = StandIn()
    service = make_service(predictor)
    with serving(service) as port:
        first = held_request(predictor, service, port)
        leaving, staying = send(port, 2), send(port, 3)
        wait_until(lambda: service.gate.count == 3)
        leaving.close()
        wait_until(lambda: service.gate.count == 2)
        predictor.may_run.set()
        assert [each.getresponse().status for each in (first, staying)] == [200, 200]
        assert "centernet2_cancelled_total 1.0" in service.metrics.text().decode()
    assert sorted(predictor.seen) == [0, 1, 3]  # 0: the first image of the service


def test_answers_are_sent_at_once() -> None:
    """asyncio turns Nagle's algorithm off for sockets that name their protocol."""
    with bind(HOST, 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP


def test_full_queue_is_429_with_a_time() -> None:
    predictor = StandIn()
    service = make_service(predictor, ServiceOptions(Limits(max_queue=2)))
    with serving(service) as port:
        predictor.may_run.clear()
        waiting = [send(port), send(port)]
        wait_until(lambda: service.gate.count == 2)
        refused = ask(port)
        assert (refused.status, int(refused.headers["Retry-After"]) >= 1) == (429, True)
        predictor.may_run.set()
        assert [each.getresponse().status for each in waiting] == [200, 200]
        assert ask(port).status == 200


def test_pixels_that_would_fill_the_memory_are_429() -> None:
    predictor = StandIn()
    limits = Limits(max_megapixels=0.01, waiting_megapixels=0.01)  # two images of 80 x 60
    service = make_service(predictor, ServiceOptions(limits))
    with serving(service) as port:
        predictor.may_run.clear()
        waiting = [send(port), send(port)]
        wait_until(lambda: service.gate.pixels == 9600)
        refused = ask(port)
        assert (refused.status, int(refused.headers["Retry-After"]) >= 1) == (429, True)
        assert "megapixels are waiting" in json.loads(refused.read())["detail"]
        predictor.may_run.set()
        assert [each.getresponse().status for each in waiting] == [200, 200]
        wait_until(lambda: service.gate.pixels == 0)
        assert ask(port).status == 200


def test_no_answer_in_time_is_503_and_costs_no_forward_pass() -> None:
    predictor = StandIn()
    service = make_service(predictor, ServiceOptions(Limits(timeout=0.3)))
    with serving(service) as port:
        first = held_request(predictor, service, port)
        late = ask(port, 2)
        assert (late.status, "Retry-After" in late.headers) == (503, True)
        predictor.may_run.set()
        first.close()
    assert predictor.seen == [0, 1]  # 0: the first image of the service


def test_body_that_does_not_arrive_is_408() -> None:
    with (
        serving(make_service(options=ServiceOptions(Limits(timeout=0.3)))) as port,
        socket.create_connection((HOST, port), 10) as client,
    ):
        client.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert b" 408 " in client.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize(("earlier", "sent"), [
    (b"", b""),
    (b"", b"POST /detect HTTP/1.1\r\nHost:"),
    (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /detect HTTP/1.1\r\nHost:"),
])  # fmt: skip
def test_client_that_sends_no_whole_request_is_cut(earlier: bytes, sent: bytes) -> None:
    with (
        serving(make_service(options=ServiceOptions(Limits(timeout=0.3)))) as port,
        socket.create_connection((HOST, port), 10) as client,
    ):
        if earlier:
            client.sendall(earlier)
            assert b" 200 " in client.recv(4096)
        client.sendall(sent)
        while client.recv(4096):
            pass


def test_client_that_does_not_read_is_cut() -> None:
    """Its answer is larger than the buffers of the connection; else the service would not end."""
    image = encode_noise((1200, 1600))
    head = "POST /detect?format=png HTTP/1.1\r\nHost: x\r\nContent-Type: image/bmp\r\n"
    with (
        socket.socket() as client,  # it is still open when the service ends
        serving(make_service(options=ServiceOptions(Limits(timeout=5)))) as port,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.connect((HOST, port))
        client.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image)
        client.recv(1)  # the answer has begun


def test_concurrent_requests_share_batches() -> None:
    predictor = StandIn(delay=0.02)
    options = ServiceOptions(batches=BatchOptions(8, 0.02))
    with serving(make_service(predictor, options)) as port, ThreadPoolExecutor(16) as clients:
        statuses = [each.status for each in clients.map(lambda _: ask(port), range(48))]
    assert statuses == [200] * 48
    assert max(predictor.batches) > 1


def test_end_of_the_service_answers_accepted_requests() -> None:
    predictor = StandIn()
    service = make_service(predictor)
    with serving(service) as port:
        predictor.may_run.clear()
        waiting = [send(port) for _ in range(5)]
        wait_until(lambda: service.gate.count == 5)
        threading.Timer(0.3, predictor.may_run.set).start()
    assert [each.getresponse().status for each in waiting] == [200] * 5


def test_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port} of {HOST} is in use; choose another"):
            bind(HOST, port)


def test_host_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"--host 192\.0\.2\.1, --port 0 cannot be used"):
        bind("192.0.2.1", 0)


@pytest.mark.slow
def test_command_serves_a_checkpoint_until_sigterm(tmp_path: Path) -> None:
    weights, log = save_untrained(tmp_path / "pets.pth"), tmp_path / "log"
    with log.open("w") as stderr, start_service(weights, stderr=stderr) as (port, process):
        answer = ask(port)
        found: Any = json.loads(answer.read())
        assert (answer.status, found["model"], found["width"]) == (200, "pets", 80)
        explained = send(port, path="/explain?x=10&y=20").getresponse()
        assert "the strongest location is on level" in json.loads(explained.read())["summary"]
    assert (process.returncode, "the service has ended" in log.read_text()) == (0, True)
