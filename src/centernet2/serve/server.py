"""Run the service on a port until a signal ends it."""

import asyncio
import errno
import logging
import socket
from urllib.parse import urlunsplit

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from centernet2.serve.application import create_app
from centernet2.serve.service import Service

MAX_CONNECTIONS = 1000  # at the same time; more get the status 503
KEEP_ALIVE = 5  # seconds that an idle connection stays open
logger = logging.getLogger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """Take a port, before weights are loaded; ValueError if that fails."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sends small answers at once (TCP_NODELAY) only if the protocol is named
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"--port {port} of {host} is in use; choose another one, or end its process"
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"--host {host}, --port {port} cannot be used ({reason})") from error
    return taken


def make_protocol(timeout: float) -> type[H11Protocol]:
    """Return the class of a connection that is cut if its client is silent or idle.

    uvicorn waits for ever for the head of a request, so silent clients would take the places of all
    others. It hands an answer to the transport and closes the connection when all of it is sent.
    For a client that does not read, that is never: the answer would stay in memory, and the service
    could not end.

    Args:
        timeout: seconds for the head of a request, and again until an answer is read.
    """

    class CutIfIdle(H11Protocol):
        _unread: asyncio.TimerHandle | None = None
        _headless: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            transport.set_write_buffer_limits(high=0)  # pause as long as anything is not sent
            super().connection_made(transport)
            self._headless = self.loop.call_later(timeout, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            is_headless = self.conn.their_state is h11.IDLE
            if is_headless and self._headless is None:  # of a later request
                self._headless = self.loop.call_later(timeout, self.transport.abort)
            if not is_headless and self._headless is not None:
                self._headless.cancel()
                self._headless = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(timeout, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

    return CutIfIdle


def make_server(service: Service) -> uvicorn.Server:
    """Return a server of a service."""
    config = uvicorn.Config(
        create_app(service),
        http=make_protocol(service.limits.timeout),
        log_config=None,  # as the command logs
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        server_header=False,
    )
    return uvicorn.Server(config)


def run(service: Service, taken: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT; accepted ones are still answered."""
    host, port = taken.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    page = urlunsplit(("http", f"{shown}:{port}", "/", "", ""))
    logger.info("%s is the page, %sdocs the interface", page, page)
    server = make_server(service)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each bad form
    try:
        asyncio.run(server.serve([taken]))
    except KeyboardInterrupt:  # uvicorn raises the signal again after it has ended
        if not server.started:
            raise
    logger.info("the service has ended")
