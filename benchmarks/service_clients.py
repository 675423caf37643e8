"""A service in a process of its own, and what its clients send; for benchmarks and tests."""

import argparse
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
from PIL import Image

HOST = "127.0.0.1"
SIZE = (120, 160)  # height and width of the image that is sent
JPEG = "image/jpeg"
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
def start_service(
    weights: Path, *options: str, **popen: object
) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Start a service that is ready; yield its port and process, which is ended by SIGTERM."""
    port = free_port()
    words = ["serve", "--weights", str(weights), "--port", str(port), "--device", "cpu", *options]
    process = subprocess.Popen([sys.executable, "-m", "centernet2", *words], text=True, **popen)
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


def ask(port: int, body: bytes, media: str = JPEG, query: str = "") -> str:
    """Send an image by a connection of its own; return the status, or how it was lost.

    Raises:
        ConnectionRefusedError: the service takes no connections.
    """
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.connect()
    try:
        connection.request("POST", f"/detect{query}", body, {"Content-Type": media})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, HTTPException) as error:
        return f"lost ({type(error).__name__})"
    finally:
        connection.close()


def make_image(size: tuple[int, int] = SIZE) -> bytes:
    """Return a JPEG file of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


@contextmanager
def served_weights(given: Path | None, log_level: str) -> Iterator[Path]:
    """Yield weights for a service that logs from a level on; default: an untrained detector."""
    os.environ.setdefault("CENTERNET2_LOG_LEVEL", log_level)
    with tempfile.TemporaryDirectory() as folder:
        yield given or save_untrained(Path(folder))


def save_untrained(folder: Path) -> Path:
    """Write a checkpoint of a small detector with random weights."""
    import torch

    import centernet2
    from centernet2.checkpoint import Checkpoint, save_checkpoint
    from centernet2.structures import ModelInfo

    torch.manual_seed(0)
    keys = {"INPUT.MIN_SIZE_TEST": SIZE[0], "INPUT.MAX_SIZE_TEST": SIZE[1]}
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", keys))
    names = tuple(str(label) for label in range(model.num_classes))
    info = ModelInfo(class_names=names, config=model.info.config)
    path = folder / "untrained.pth"
    save_checkpoint(path, Checkpoint(model.state_dict(), info, iteration=1, metrics={}))
    return path


def parser_of(description: str) -> argparse.ArgumentParser:
    """Return a parser of a program that serves weights."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--weights", type=Path, help="default: a small untrained detector")
    return parser
