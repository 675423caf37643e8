"""An RTSP server on the loopback (RFC 2326), which sends MPEG-TS in RTP over its connection."""

import contextlib
import socketserver
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.stream_server import running

TS_PACKET, PACKETS = 188, 7  # bytes, and how many of them fill an RTP packet
MP2T = 33  # payload type of RTP (RFC 3551)
PATH = "/live"
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track\r\n"
)


@contextmanager
def serve_rtsp(films: Sequence[Path], *, pause: float = 0.005) -> Iterator[str]:
    """Serve a camera; yield its address.

    Args:
        films: MPEG-TS files; each connection that plays gets the next one, and breaks at its end.
            Further ones are refused.
        pause: seconds between two packets.
    """
    remaining = iter(films)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := self._request():
                method, number = request
                head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n"
                body = ""
                if method == "DESCRIBE":
                    head += "Content-Type: application/sdp\r\n"
                    body = SDP
                elif method == "SETUP":
                    head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                film = next(remaining, None) if method == "PLAY" else None
                if method == "PLAY" and film is None:
                    head = f"RTSP/1.0 503 Service Unavailable\r\nCSeq: {number}\r\n"
                self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                if method == "PLAY":
                    self._play(film)
                    return

        def _request(self) -> tuple[str, str] | None:
            """Return method and number of the next request; None: the client has left."""
            lines = []
            while line := self.rfile.readline().decode().strip():
                lines.append(line)
            if not lines:
                return None
            (number,) = (line.split()[1] for line in lines if line.startswith("CSeq:"))
            return lines[0].split()[0], number

        def _play(self, film: Path | None) -> None:
            content = b"" if film is None else film.read_bytes()
            size = TS_PACKET * PACKETS
            with contextlib.suppress(OSError):  # the client may leave
                for index in range(0, len(content), size):
                    payload = content[index : index + size]
                    number = index // size
                    rtp = struct.pack(">BBHII", 0x80, MP2T, number, 90 * number, 1) + payload
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                    time.sleep(pause)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with running(Server(("127.0.0.1", 0), Handler)) as port:
        yield f"rtsp://127.0.0.1:{port}{PATH}"
