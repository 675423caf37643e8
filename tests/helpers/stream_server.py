"""Servers on the loopback: files, and a camera of Motion JPEG that can break off."""

import contextlib
import io
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

BOUNDARY = "frame"


class QuietHandler(BaseHTTPRequestHandler):
    """Answer requests without a log; the output of the test stays clean."""

    def log_message(self, *_: object) -> None: ...

    def begin(self, kind: str, **headers: object) -> None:
        """Send the head of an answer of a media type."""
        self.send_response(200)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


@contextmanager
def serve_camera(
    connections: list[tuple[int, tuple[int, int]]], *, pause: float = 0.02
) -> Iterator[str]:
    """Serve a stream; yield its address.

    Args:
        connections: of each connection, in order, the number of frames before it breaks, and their
            height and width; more connections are refused.
        pause: seconds between two frames.
    """
    remaining = iter(connections)
    lock = threading.Lock()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            with lock:
                connection = next(remaining, None)
            if connection is None:
                self.send_error(503)
                return
            count, size = connection
            self.begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            for index in range(count):
                picture = _jpeg(size, 10 * (index + 1) % 250)
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                self.wfile.write(f"{head}Content-Length: {len(picture)}\r\n\r\n".encode())
                self.wfile.write(picture + b"\r\n")
                time.sleep(pause)

    with serve_http(Handler) as address:
        yield f"{address}/video"


@contextmanager
def serve_files(folder: Path) -> Iterator[str]:
    """Serve the files of a folder, also as /image and /film; yield the address."""
    kinds = {".png": ("image", "image/png"), ".mkv": ("film", "video/x-matroska")}

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            for path in folder.iterdir():
                name, kind = kinds.get(path.suffix, ("", ""))
                if self.path in (f"/{path.name}", f"/{name}"):
                    content = path.read_bytes()
                    self.begin(kind, Content_Length=len(content))
                    with contextlib.suppress(OSError):  # whoever asks may leave early
                        self.wfile.write(content)
                    return
            self.send_error(404)

    with serve_http(Handler) as address:
        yield address


@contextmanager
def serve_endless(
    content: bytes, kind: str, *, part: int = 1880, pause: float = 0.01
) -> Iterator[str]:
    """Serve content as a live source does: in parts, without its length; yield the address.

    Args:
        kind: media type.
        part: bytes at a time.
        pause: seconds between two parts.
    """

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.begin(kind)
            with contextlib.suppress(OSError):  # whoever asks may leave early
                for start in range(0, len(content), part):
                    self.wfile.write(content[start : start + part])
                    time.sleep(pause)

    with serve_http(Handler) as address:
        yield address


@contextmanager
def serve_silence() -> Iterator[str]:
    """Accept connections and answer nothing; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[int]:
    """Run a server of this machine in a thread; yield its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with server:
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serve_http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer requests by a handler; yield the address."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"http://127.0.0.1:{port}"


def _jpeg(size: tuple[int, int], brightness: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((*size, 3), brightness, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()
