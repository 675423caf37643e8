"""Tell apart what the numbers of YOLO's label rows mean.

After the class, a row has a box (center, width, height), a polygon, a rotated box (the polygon of
its four corners), or a box with key points. Detectors append a confidence, and trackers a number
after it. Nothing in a row says which it is; data.yaml and all rows together do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from centernet2.data.findings import Problem
from centernet2.data.readers.yolo_sources import YoloSource

SAMPLE = 300  # rows that decide between polygons and key points
SLACK = 0.5  # shares of the image by which coordinates may exceed it; more is another unit
BORDER = 0.02  # by which a good box may exceed the image
MANY_ROWS = 20  # that do not have the form of others by chance
MOSTLY, FEW = 0.95, 0.8  # shares of rows
MIN_ROWS = 3  # that show key points by their shape
MIN_WIDE = 6  # numbers of a polygon, or of a box with key points
CONFIDENCES = Problem("label rows with a confidence", "note", "it is not used")
Side = tuple[tuple[float, float], tuple[float, float]]  # of a polygon
KEY_POINTS = Problem("label rows with key points", "note", "the box is used, the points are not")


class LabelRow(NamedTuple):
    """One object of a label file."""

    place: str  # file and line, for messages
    image: int  # index of its image
    label: int
    numbers: tuple[float, ...]  # after the class


class RowForm(NamedTuple):
    """How the numbers of a row are read."""

    is_polygon: bool
    used: int  # numbers of the box or polygon; the others are not used
    problem: Problem | None = None


BOX = RowForm(False, 4)


def may_be_other_forms(rows: Sequence[LabelRow], source: YoloSource) -> bool:
    """Whether the rows of a split alone may not tell their form."""
    is_stated = source.keypoints is not None or source.task in ("pose", "segment", "obb")
    return not is_stated and any(len(row.numbers) >= MIN_WIDE for row in rows)


def tell_forms(rows: Sequence[LabelRow], source: YoloSource) -> dict[int, RowForm]:
    """Tell the form of the rows of all splits by how many numbers follow the class.

    Raises:
        ValueError: boxes with key points and polygons cannot be told apart.
    """
    groups: dict[int, list[LabelRow]] = {}
    for row in rows:
        groups.setdefault(len(row.numbers), []).append(row)
    forms = {4: BOX}
    if 5 in groups and holds_for_all(groups[5], lambda numbers: _is_share(numbers[4])):
        forms[5] = RowForm(False, 4, CONFIDENCES)
    if source.keypoints is not None:
        points, numbers = source.keypoints
        count = 4 + points * numbers
        _refuse_polygons(groups.get(count, ()), source)
        return forms | {count + k: RowForm(False, 4, KEY_POINTS) for k in (0, 1, 2)}
    wide = {count: group for count, group in groups.items() if count >= MIN_WIDE}
    if source.task == "pose":
        return forms | dict.fromkeys(wide, RowForm(False, 4, KEY_POINTS))
    if source.task in ("segment", "obb"):
        return forms | _polygon_forms(wide)
    for count, group in wide.items():
        few = len(group) < MANY_ROWS and 2 * len(group) <= sum(map(len, wide.values()))
        if not few and _have_visibility(group):  # a few polygons have it by chance
            return forms | {count: RowForm(False, 4, KEY_POINTS)}
    if set(wide) == {6} and _have_confidence_and_track(wide[6], box=True):
        forms[6] = RowForm(False, 4, CONFIDENCES)
    elif len(wide) == 1:
        ((count, group),) = wide.items()
        if not _are_polygons(group, source):
            return forms | {count: RowForm(False, 4, KEY_POINTS)}
    return _polygon_forms(wide) | forms


def _refuse_polygons(rows: Sequence[LabelRow], source: YoloSource) -> None:
    """Refuse polygons among rows that kpt_shape says are boxes with key points."""
    _, numbers = source.keypoints or (0, 0)
    unusual = [row for row in rows if numbers == 3 and not _has_visibility(row.numbers)]
    polygons = [row for row in rows if _is_parallelogram(_points(row.numbers))]
    if unusual and (len(unusual) < len(rows) or _are_polygons(unusual, source)):
        polygons = unusual
    if polygons:
        raise ValueError(
            f"{polygons[0].place}: the numbers are a polygon, but kpt_shape of {source.path.name} "
            "says that they are a box and key points; correct one of them"
        )


def _has_visibility(numbers: Sequence[float]) -> bool:
    """Whether the third number of each key point is 0, 1 or 2."""
    return all(number in (0, 1, 2) for number in numbers[6::3])


def holds_for_all(rows: Sequence[LabelRow], condition: Callable[[tuple[float, ...]], bool]) -> bool:
    return all(condition(row.numbers) for row in rows)


def _is_share(number: float) -> bool:
    return 0 <= number <= 1


def _have_confidence_and_track(rows: Sequence[LabelRow], *, box: bool = False) -> bool:
    """Whether the last two numbers of all rows are a confidence and a track's number."""
    return holds_for_all(
        rows,
        lambda x: (
            _is_share(x[-2]) and x[-1] >= 0 and x[-1].is_integer() and (not box or is_box_inside(x))
        ),
    )


def _have_visibility(rows: Sequence[LabelRow]) -> bool:
    """Whether every third number after a box is 0, 1 or 2, as with key points."""
    count = len(rows[0].numbers)
    if (count - 4) % 3:
        return False
    boxes = sum(is_box_inside(row.numbers) for row in rows)
    return holds_for_all(rows, _has_visibility) and boxes >= MOSTLY * len(rows)


def _polygon_forms(groups: Mapping[int, Sequence[LabelRow]]) -> dict[int, RowForm]:
    """Read rows as polygons; a confidence, or it and a track's number, may follow."""
    forms = {}
    all_odd = all(count % 2 for count in groups)
    for count, group in groups.items():
        if count % 2 == 0:
            far = any(row.numbers[-1] > 1 + SLACK for row in group)
            tracked = count >= 8 and far and _have_confidence_and_track(group)
            forms[count] = RowForm(True, count - 2 * tracked, CONFIDENCES if tracked else None)
        elif all_odd and count >= 7 and holds_for_all(group, lambda x: _is_share(x[-1])):
            forms[count] = RowForm(True, count - 1, CONFIDENCES)
    return forms


def _are_polygons(rows: Sequence[LabelRow], source: YoloSource) -> bool:
    """Whether rows of one length are polygons, not boxes with key points.

    Corners of rotated boxes form a parallelogram. The first four numbers of a polygon are rarely a
    box inside the image, and its sides do not cross each other as lines between key points do.
    """
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    count = len(rows[0].numbers)
    polygons = [_points(row.numbers[: count - count % 2]) for row in sample]
    if _share(map(_is_parallelogram, polygons)) >= MOSTLY:
        return True
    if count >= 8 and _share(points[0] == points[-1] for points in polygons) >= MOSTLY:
        return True
    boxes = max(
        _share(_is_box_with_points(row.numbers, step) for row in sample)
        for step in (2, 3)
        if (count - 4) % step in (0, 1)  # a confidence may follow
    )
    simple = _share(map(_is_simple, polygons))
    if boxes >= MOSTLY and simple < FEW and len(sample) >= MIN_ROWS:
        return False
    if boxes < MOSTLY and simple >= boxes:
        return True
    raise ValueError(
        f"{rows[0].place}: has {count} numbers after the class, as all {len(rows)} rows of this "
        "kind: a polygon, or a box with key points; write 'task: segment' or 'task: pose' into "
        f"{source.path.name if source.path.suffix in ('.yaml', '.yml') else 'a data.yaml'}"
    )


def _share(values: Iterator[bool] | Sequence[bool]) -> float:
    flags = list(values)
    return sum(flags) / len(flags)


def _points(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[0::2], numbers[1::2], strict=False))


def is_box_inside(numbers: Sequence[float]) -> bool:
    x, y, w, h = numbers[:4]
    return (
        0 < w <= 1 + BORDER
        and 0 < h <= 1 + BORDER
        and -BORDER <= x - w / 2 <= x + w / 2 <= 1 + BORDER
        and -BORDER <= y - h / 2 <= y + h / 2 <= 1 + BORDER
    )


def _is_box_with_points(numbers: Sequence[float], step: int) -> bool:
    """Whether half of the key points are in their box, or not annotated (0, 0)."""
    if not is_box_inside(numbers):
        return False
    x, y, w, h = numbers[:4]
    count = (len(numbers) - 4) // step
    points = list(zip(numbers[4::step], numbers[5::step], strict=False))[:count]
    near = sum((abs(a - x) <= 0.6 * w and abs(b - y) <= 0.6 * h) or a == b == 0 for a, b in points)
    return 2 * near >= len(points)


def _is_parallelogram(points: Sequence[tuple[float, float]]) -> bool:
    if len(points) != 4:
        return False
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    size = max(abs(ax - cx), abs(ay - cy), abs(bx - dx), abs(by - dy))
    return max(abs(ax + cx - bx - dx), abs(ay + cy - by - dy)) <= 0.05 * size + 1e-6


def _is_simple(points: Sequence[tuple[float, float]]) -> bool:
    """Whether no two sides of a polygon cross each other."""
    sides = list(zip(points, [*points[1:], points[0]], strict=True))
    return not any(
        _cross(sides[i], sides[j])
        for i in range(len(sides))
        for j in range(i + 2, len(sides) - (i == 0))
    )


def _cross(first: Side, second: Side) -> bool:
    """Whether two segments cross at an inner point of both."""

    def turn(side: Side, point: tuple[float, float]) -> float:
        (ax, ay), (bx, by) = side
        return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)

    return (
        turn(first, second[0]) * turn(first, second[1]) < 0
        and turn(second, first[0]) * turn(second, first[1]) < 0
    )
