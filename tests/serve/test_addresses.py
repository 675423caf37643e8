"""Addresses that clients name: none without a list, none in private networks."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from centernet2.serve.addresses import AddressRules, fetch, is_public
from centernet2.serve.refusals import Refused
from tests.helpers.serving import encode
from tests.helpers.stream_server import running

PUBLIC_NAME = "images.test"


@contextmanager
def host(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[int]:
    """Serve answers by path on the loopback address; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


def rules(**changes: object) -> AddressRules:
    """Return rules of one host that is taken for a public one."""
    own = AddressRules(
        hosts=(PUBLIC_NAME,), resolve=lambda host, port: ["127.0.0.1"], admits=lambda each: True
    )
    return own._replace(**changes)


def refusal(url: str, own: AddressRules) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        fetch(url, own)
    return int(caught.value.status), caught.value.reason


def test_allowed_host_is_read() -> None:
    with host({"/a.png": (200, {}, encode())}) as port:
        assert fetch(f"http://{PUBLIC_NAME}:{port}/a.png", rules()) == encode()


def test_nothing_is_fetched_without_a_list() -> None:
    status, reason = refusal("http://images.test/a.png", AddressRules())
    assert (status, "fetches no addresses" in reason) == (403, True)


@pytest.mark.parametrize(("url", "status", "reason"), [
    ("http://other.test/a.png", 403, "other.test is not allowed"),
    ("http://images.test.evil.test/a.png", 403, "is not allowed"),
    ("file:///etc/passwd", 422, "begins with http://"),
    ("ftp://images.test/a.png", 422, "begins with http://"),
    ("http://user:secret@images.test/a.png", 422, "has no user name"),
    ("http://images.test:port/a.png", 422, "is not valid"),
    ("http://images.test/a b.png", 422, "percent-encoding"),
    ("http://images.test/a\r\nX: y", 422, "percent-encoding"),
])  # fmt: skip
def test_other_addresses_are_refused(url: str, status: int, reason: str) -> None:
    found = refusal(url, rules())
    assert (found[0], reason in found[1]) == (status, True)


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "ff02::1",
    "2002:7f00:1::",
])  # fmt: skip
def test_private_networks_are_closed_though_the_host_is_allowed(address: str) -> None:
    assert not is_public(address)
    own = rules(resolve=lambda host, port: [address], admits=is_public)
    status, reason = refusal("http://images.test/a.png", own)
    assert (status, "not in the public internet" in reason) == (403, True)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_open(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_closes_the_host() -> None:
    own = rules(resolve=lambda host, port: ["93.184.216.34", "10.0.0.1"], admits=is_public)
    assert refusal("http://images.test/a.png", own)[0] == 403


def test_name_is_resolved_once_for_check_and_connection() -> None:
    """A second answer of the name server (DNS rebinding) is not asked for."""
    asked = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with host({"/a.png": (200, {}, b"x")}) as port:
        own = rules(resolve=resolve, admits=lambda each: each == "127.0.0.1")
        assert fetch(f"http://{PUBLIC_NAME}:{port}/a.png", own) == b"x"
    assert asked == [PUBLIC_NAME]


def test_redirect_is_checked_as_the_first_address() -> None:
    def redirect(target: str) -> tuple[int, dict[str, str], bytes]:
        return 302, {"Location": target}, b""

    answers = {
        "/good": redirect("/a.png"),
        "/other": redirect("http://127.0.0.1/a.png"),
        "/file": redirect("file:///etc/passwd"),
        "/loop": redirect("/loop"),
        "/a.png": (200, {}, b"x"),
    }
    with host(answers) as port:
        start = f"http://{PUBLIC_NAME}:{port}"
        assert fetch(f"{start}/good", rules()) == b"x"
        assert refusal(f"{start}/other", rules())[0] == 403
        assert refusal(f"{start}/file", rules())[0] == 422
        assert "redirected more than 3 times" in refusal(f"{start}/loop", rules())[1]


def test_answer_that_is_too_large_or_no_answer_is_refused() -> None:
    with host({"/big": (200, {}, bytes(5000)), "/none": (404, {}, b"")}) as port:
        start = f"http://{PUBLIC_NAME}:{port}"
        assert refusal(f"{start}/big", rules(max_bytes=4000))[0] == 413
        assert "answers with status 404" in refusal(f"{start}/none", rules())[1]
    assert "cannot be read" in refusal(f"{start}/gone", rules())[1]


@pytest.mark.parametrize("slow", ["headers", "content"])
def test_host_that_sends_byte_by_byte_is_given_up(slow: str) -> None:
    """Each byte arrives in time, and all of them together do not."""
    head, content = b"HTTP/1.0 200 OK\r\nX: " + b"x" * 200 + b"\r\n\r\n", b"x" * 200
    parts = (b"", head + content) if slow == "headers" else (head, content)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(parts[0])
            with contextlib.suppress(OSError):  # the client has left
                for value in parts[1]:
                    self.request.sendall(bytes([value]))
                    time.sleep(0.01)

    with running(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        status, reason = refusal(f"http://{PUBLIC_NAME}:{port}/", rules(timeout=0.4))
    assert (status, "takes too long" in reason or "timed out" in reason) == (422, True)
