"""Limits of the service: sizes, time, and requests at the same time."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from centernet2.serve.refusals import Refused

MEGA = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What the service accepts."""

    max_megabytes: float = 20.0  # of the body of a request
    max_megapixels: float = 50.0  # of an image, all its frames together
    max_queue: int = 64  # images that are accepted and not answered yet
    # seconds for a request to arrive, again for its answer, and again until it is read
    timeout: float = 30.0
    waiting_megapixels: float = 1000.0  # of the images that are decoded and not answered yet

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * MEGA)

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * MEGA)

    @property
    def waiting_pixels(self) -> int:
        """Pixels in memory, three bytes each; one image is always accepted."""
        return max(int(self.waiting_megapixels * MEGA), self.max_pixels)


class Gate:
    """Count the images that are accepted and not answered, and their pixels.

    Args:
        limit: of images.
        max_pixels: of the images that are decoded.
    """

    def __init__(self, limit: int, max_pixels: int) -> None:
        self.limit, self.max_pixels = limit, max_pixels
        self.count = self.pixels = 0
        self.seconds_per_image = 0.0  # of the last batch

    @contextmanager
    def hold(self, count: int = 1, *, held: int = 0) -> Iterator[None]:
        """Accept images for a block; Refused if there are too many.

        Other images of the same request, `held`, are accepted already.
        """
        self.require_few(held + count)
        if self.count + count > self.limit:
            raise self._full(f"{self.count} images are waiting, of at most {self.limit}")
        self.count += count
        try:
            yield
        finally:
            self.count -= count

    @contextmanager
    def hold_pixels(self, count: int) -> Iterator[None]:
        """Accept the pixels of a request for a block; Refused if there are too many."""
        most = f"of at most {self.max_pixels / MEGA:g}"
        if count > self.max_pixels:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the images of the request have {count / MEGA:.0f} megapixels together, {most}; "
                "send fewer at once",
            )
        if self.pixels + count > self.max_pixels:
            raise self._full(f"images of {self.pixels / MEGA:.0f} megapixels are waiting, {most}")
        self.pixels += count
        try:
            yield
        finally:
            self.pixels -= count

    def _full(self, reason: str) -> Refused:
        """Return the refusal of a request that may come again."""
        return Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{reason}; try again later",
            retry_after=max(1, math.ceil(self.count * self.seconds_per_image)),
        )

    def require_few(self, count: int) -> None:
        """Refuse a request with more images than may ever be accepted."""
        if count > self.limit:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request has {count} images; the service takes at most {self.limit} at once",
            )
