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

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * MEGA)

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * MEGA)


class Gate:
    """Count the images that are accepted and not answered; refuse more than a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.seconds_per_image = 0.0  # of the last batch

    @contextmanager
    def hold(self, count: int = 1, *, held: int = 0) -> Iterator[None]:
        """Accept images for a block; Refused if there are too many.

        Other images of the same request, `held`, are accepted already.
        """
        self.require_few(held + count)
        if self.count + count > self.limit:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self.count} images are waiting, of at most {self.limit}; try again later",
                retry_after=max(1, math.ceil(self.count * self.seconds_per_image)),
            )
        self.count += count
        try:
            yield
        finally:
            self.count -= count

    def require_few(self, count: int) -> None:
        """Refuse a request with more images than may ever be accepted."""
        if count > self.limit:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request has {count} images; the service takes at most {self.limit} at once",
            )
