"""Headless Chromium, driven through the pipe of its DevTools protocol."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# commands come in at descriptor 3, answers and events go out at 4
START = 'exec "$0" "$@" 3<&{commands} 4>&{answers}'
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")


def find_chromium() -> str | None:
    """Return the path of an installed Chromium."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


class Page:
    """A page of Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
        self.requested: list[str] = []  # addresses, in order
        self.session = ""
        self.sent = 0
        self.received = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self.sent += 1
        command = {"id": self.sent, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        self.commands.write(json.dumps(command).encode() + b"\0")
        self.commands.flush()
        while (message := self._receive()).get("id") != self.sent:
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
        assert "result" in message, message
        return message["result"]

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, or of its promise."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.received:
            chunk = self.answers.read1(1 << 16)
            assert chunk, "Chromium has ended"
            self.received += chunk
        message, self.received = self.received.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def open_page(chromium: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with an empty page, and end it."""
    commands_in, commands_out = os.pipe()
    answers_in, answers_out = os.pipe()
    start = START.format(commands=commands_in, answers=answers_out)
    process = subprocess.Popen(
        ["bash", "-c", start, chromium, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(commands_in, answers_out),
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_in)
    os.close(answers_out)
    try:
        yield Page(commands_out, answers_in)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on this machine; yield the address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
