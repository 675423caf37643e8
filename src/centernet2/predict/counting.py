"""Count the objects of a film that cross a line or enter a zone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from centernet2.predict.conversions import image_name
from centernet2.predict.prediction import Prediction
from centernet2.predict.tracking import UNCONFIRMED

Point: TypeAlias = tuple[float, float]
Key: TypeAlias = tuple[Path | None, int]  # film and number of an object
Counts: TypeAlias = dict[str, dict[str, dict[str, int]]]
MARGIN = 0.05  # of the diagonal of its box by which an object must have left a line
FORTH, BACK, ENTERED = "forth", "back", "entered"


class Event(NamedTuple):
    """An object crosses a line or enters a zone."""

    image: str  # the film
    frame: int
    time: float  # seconds
    id: int  # of the object
    name: str  # of its class
    place: str  # of the line or zone
    what: str  # forth, back or entered


@dataclass
class Line:
    """A line between two points; "forth": left to right, seen from the first point.

    An object is at the center of its box. It has crossed when it is clearly on the other side, so
    one that trembles on the line counts once. An object that is hidden meanwhile counts, too.
    """

    start: Point
    end: Point
    name: str = "line"
    _last: dict[Key, tuple[Point, float]] = field(default_factory=dict)  # clear places

    def update(self, prediction: Prediction) -> list[Event]:
        """Return the crossings in the next frame."""
        events = []
        for number, name, center, size in _confirmed(prediction):
            side = self._side(center)
            if abs(side) < MARGIN * size:
                continue
            key = (prediction.path, number)
            before = self._last.get(key)
            self._last[key] = (center, side)
            if before is not None and before[1] * side < 0 and self._is_between(before[0], center):
                what = FORTH if side > 0 else BACK
                events.append(_event(prediction, number, name, self.name, what))
        return events

    def _side(self, point: Point) -> float:
        """Signed distance of a point; positive at the right, in pixels."""
        (x0, y0), (x1, y1) = self.start, self.end
        cross = (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)
        return cross / float(np.hypot(x1 - x0, y1 - y0))

    def _is_between(self, before: Point, after: Point) -> bool:
        """Whether a path crosses the line between its ends."""
        path = Line(before, after)
        return path._side(self.start) * path._side(self.end) <= 0


@dataclass
class Zone:
    """A polygon; an object is inside when the center of its box is, and enters once."""

    corners: Sequence[Point]
    name: str = "zone"
    _entered: set[Key] = field(default_factory=set)

    def update(self, prediction: Prediction) -> list[Event]:
        """Return the objects that are inside for the first time in the next frame."""
        events = []
        for number, name, center, _ in _confirmed(prediction):
            key = (prediction.path, number)
            if key not in self._entered and self.contains(center):
                self._entered.add(key)
                events.append(_event(prediction, number, name, self.name, ENTERED))
        return events

    def contains(self, point: Point) -> bool:
        """Whether a point is inside: a ray from it crosses an odd number of sides."""
        x, y = point
        inside = False
        for (x0, y0), (x1, y1) in zip(
            self.corners, [*self.corners[1:], self.corners[0]], strict=True
        ):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                inside = not inside
        return inside


def count_events(events: Sequence[Event]) -> Counts:
    """Return the number of events by place, then by what happened, then by class."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for each in events:
        counts.setdefault(each.place, {}).setdefault(each.what, Counter())[each.name] += 1
    return {
        place: {what: dict(names) for what, names in kinds.items()}
        for place, kinds in counts.items()
    }


def parse_points(text: str, option: str, *, least: int) -> list[Point]:
    """Return the points of a text x,y,x,y,...

    Args:
        option: that the text is the value of, for messages.
        least: number of points; a line has exactly two.
    """
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError:
        numbers = []
    is_line = least == 2
    points = list(zip(numbers[::2], numbers[1::2], strict=False))
    fits = len(points) == 2 if is_line else len(points) >= least
    if not fits or len(numbers) % 2 or not np.isfinite(numbers).all():
        wanted = "x,y,x,y" if is_line else "x,y,x,y,x,y,..."
        raise ValueError(f"{option} is '{text}'; give pixels as {wanted}")
    if is_line and points[0] == points[1]:
        raise ValueError(f"{option} is '{text}'; its two points are the same")
    return points


def _confirmed(prediction: Prediction) -> list[tuple[int, str, Point, float]]:
    """Return number, class, center and diagonal of the box of each confirmed object."""
    boxes = prediction.boxes.astype(np.float64)
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
    sizes = np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T).tolist()
    rows = zip(prediction.ids.tolist(), prediction.names, centers, sizes, strict=True)
    return [(i, name, (x, y), size) for i, name, (x, y), size in rows if i != UNCONFIRMED]


def _event(prediction: Prediction, number: int, name: str, place: str, what: str) -> Event:
    frame, time = prediction.frame, prediction.time
    return Event(image_name(prediction), frame or 0, time or 0.0, number, name, place, what)
