"""Fetch images from addresses that clients name, if their hosts are allowed.

A host is resolved once, and the connection goes to that very address, so a name that changes
between check and connection (DNS rebinding) gains nothing. Each redirect is checked anew.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from centernet2.serve.refusals import Refused, unprocessable

PORTS = {"http": 80, "https": 443}  # of addresses that name none
MAX_REDIRECTS = 3
PART_BYTES = 1 << 16


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet."""
    own = ipaddress.ip_address(address.split("%")[0])
    if isinstance(own, ipaddress.IPv6Address):
        inner = own.ipv4_mapped or own.sixtofour or (own.teredo[1] if own.teredo else None)
        if inner is not None:
            return own.ipv4_mapped is not None and is_public(str(inner))
        if own in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 may lead to a private one
            return False
    return own.is_global and not own.is_multicast


class AddressRules(NamedTuple):
    """Which addresses are fetched, and how."""

    hosts: Sequence[str] = ()  # names, or patterns such as *.example.com; empty: nothing is fetched
    max_bytes: int = 20_000_000  # of an answer
    timeout: float = 10.0  # seconds for all of it, from the connection to the last byte
    resolve: Callable[[str, int], Sequence[str]] = resolve  # IP addresses of a host and port
    admits: Callable[[str], bool] = is_public  # whether an IP address may be connected to


def fetch(url: str, rules: AddressRules, headers: dict[str, str] | None = None) -> bytes:
    """Return the content of an address.

    Raises:
        Refused: it is not allowed, not found, or too large.
    """
    deadline = time.monotonic() + rules.timeout
    for _ in range(MAX_REDIRECTS + 1):
        parts = check_address(url, rules)
        connection = _connect(parts, rules, deadline)
        try:
            target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            connection.request("GET", target, headers={"Accept": "image/*", **(headers or {})})
            received: Any = _Received(connection.sock, deadline)
            answer = http.client.HTTPResponse(received)
            answer.begin()
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.getheader("Location") or "")
                headers = None  # they are for the first host
                continue
            if answer.status != HTTPStatus.OK:
                raise unprocessable(f"{parts.hostname} answers with status {answer.status}")
            return _read(answer, rules)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _unreachable(parts, error) from error
        finally:
            connection.close()
    raise unprocessable(f"the address is redirected more than {MAX_REDIRECTS} times")


def check_address(url: str, rules: AddressRules) -> SplitResult:
    """Return the parts of an address whose host is allowed; Refused otherwise."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise unprocessable("the address is not valid") from None
    if not rules.hosts:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "this service fetches no addresses; send the image itself "
            "(--allow-host of `centernet2 serve` names hosts to fetch from)",
        )
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise unprocessable("an address begins with http:// or https:// and has no user name")
    if not any(fnmatchcase(host.lower(), each.lower()) for each in rules.hosts):
        raise Refused(HTTPStatus.FORBIDDEN, f"the host {host[:80]} is not allowed here")
    if any(ord(character) <= 32 or ord(character) > 126 for character in url):
        raise unprocessable("the address has characters that need percent-encoding")
    return parts


def _connect(
    parts: SplitResult, rules: AddressRules, deadline: float
) -> http.client.HTTPConnection:
    """Connect to a resolved address of a host, all of which must be admitted."""
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    try:
        found = rules.resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise _unreachable(parts, error) from error
    if not found or not all(map(rules.admits, found)):
        raise Refused(HTTPStatus.FORBIDDEN, f"the host {host} is not in the public internet")
    connection = http.client.HTTPConnection(host, port)
    try:
        plain = socket.create_connection((found[0], port), timeout=_left(deadline))
        if parts.scheme == "https":
            plain = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise _unreachable(parts, error) from error
    connection.sock = plain
    return connection


class _Received(io.RawIOBase):
    """What a socket receives until a deadline, as the file that HTTPResponse reads.

    The timeout of a socket is that of each part. A host that sends one byte at a time would hold a
    thread for hours.
    """

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected, self._deadline = connected, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(_left(self._deadline))
        return self._connected.recv_into(buffer)


def _read(answer: http.client.HTTPResponse, rules: AddressRules) -> bytes:
    content = bytearray()
    while part := answer.read1(PART_BYTES):
        content += part
        if len(content) > rules.max_bytes:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the image at the address is larger than {rules.max_bytes / 1e6:g} MB",
            )
    return bytes(content)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left


def _unreachable(parts: SplitResult, error: Exception) -> Refused:
    reason = " ".join(str(error).split()) or type(error).__name__
    return unprocessable(f"{(parts.hostname or '')[:80]} cannot be read ({reason[:200]})")
