"""A service with a stand-in for a detector, and clients of it."""

import base64
import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from centernet2.predict.prediction import Prediction
from centernet2.score_thresholds import Resolved, Threshold, resolve_thresholds
from centernet2.serve.application import create_app
from centernet2.serve.served_model import ServedModel
from centernet2.serve.server import bind, make_server
from centernet2.serve.service import Service, ServiceOptions

HOST = "127.0.0.1"
NAMES = ("cat", "dog")
SHARES = np.array([[0.1, 0.1, 0.5, 0.6], [0.3, 0.2, 0.9, 0.8], [0, 0, 1, 1]], np.float32)
SCORES = np.array([0.9, 0.5, 0.2], np.float32)
LABELS = np.array([1, 0, 1])


class StandIn:
    """A predictor that detects two dogs and a cat in each image.

    Args:
        delay: seconds that a forward pass takes.
        bad_value: red value of the first pixel at which a batch fails.
        names: of its classes; empty: it has none.
        has_masks: each mask is its box without the corner of the image at the top left, which
            makes a step; that of the third detection is empty.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        bad_value: int | None = None,
        names: tuple[str, ...] = NAMES,
        has_masks: bool = False,
    ) -> None:
        self.class_names, self.num_classes = names, len(NAMES)
        self.delay, self.bad_value, self.has_masks = delay, bad_value, has_masks
        self.batches: list[int] = []  # sizes
        self.seen: list[int] = []  # red values of first pixels
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(
        self, images: Sequence[np.ndarray], *, score_threshold: float = 0.0
    ) -> list[Prediction]:
        self.may_run.wait()
        time.sleep(self.delay)
        values = [int(image[0, 0, 0]) for image in images]
        self.batches.append(len(images))
        self.seen += values
        if self.bad_value in values:
            raise RuntimeError("this image fails")
        return [self._predict(image, score_threshold) for image in images]

    def _predict(self, image: np.ndarray, floor: float) -> Prediction:
        height, width = image.shape[:2]
        scale = np.array([width, height, width, height], np.float32)
        boxes = SHARES * scale
        columns = {"masks": _masks(boxes, (height, width))} if self.has_masks else {}
        found = Prediction(
            boxes, SCORES, LABELS, (height, width), class_names=self.class_names, pixels=image,
            columns=columns,
        )  # fmt: skip
        return found[found.scores >= floor]

    def shown_threshold(self, given: Threshold | None) -> Resolved:
        return resolve_thresholds(
            0.3 if given is None else given, self.class_names, self.num_classes
        )

    def explain(
        self, image: np.ndarray, x: float, y: float, *, score_threshold: Resolved
    ) -> SimpleNamespace:
        if not (x < image.shape[1] and y < image.shape[0]):
            raise ValueError(f"the point ({x:g}, {y:g}) is outside of the image")
        summaries = {"en": f"a dog is at {x:.0f}, {y:.0f}", "zh": f"{x:.0f}, {y:.0f} 有一只狗"}
        return SimpleNamespace(
            text={"en": "all steps", "zh": "全部"}.get,
            to_dict=lambda language: {"summary": summaries[language]},
        )


def _masks(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks[:2], boxes.astype(int), strict=False):
        mask[top:bottom, left:right] = True
        mask[: size[0] // 3, : size[1] // 3] = False
    return masks


def make_service(
    predictor: StandIn | None = None, options: ServiceOptions | None = None, **changes: Any
) -> Service:
    """Return a service of one stand-in, `pets`."""
    return Service([make_model("pets", predictor, **changes)], options)


def make_model(name: str, predictor: StandIn | None = None, **changes: Any) -> ServedModel:
    """Return a stand-in with a name; images share a batch if their sizes are equal."""
    model: Any = predictor or StandIn()
    return ServedModel(name, model, lambda height, width: (height, width), **changes)


@contextmanager
def client_of(service: Service) -> Iterator[TestClient]:
    """Start a service that is ready, and give a client of it."""
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        wait_until(lambda: service.is_ready)
        yield client


@contextmanager
def serving(service: Service) -> Iterator[int]:
    """Run a service that is ready on a port of this machine; yield the port."""
    with bind(HOST, 0) as taken:
        port = taken.getsockname()[1]
        server = make_server(service)
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        wait_until(lambda: service.is_ready)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    """Wait until a condition holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.005)


def encode(value: int = 128, size: tuple[int, int] = (60, 80), kind: str = "PNG") -> bytes:
    """Return an image file of one gray value; `size` is height and width."""
    stream = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(stream, kind)
    return stream.getvalue()


def encode_noise(size: tuple[int, int]) -> bytes:
    """Return an image file that cannot be compressed well."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "BMP")
    return stream.getvalue()


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
