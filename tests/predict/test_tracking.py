"""Tracks and counts of a composed film, whose objects move on known paths behind a pillar."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from centernet2.predict.counting import Event, Line, Zone, count_events, parse_points
from centernet2.predict.film_writer import FilmWriter
from centernet2.predict.films import Film, FilmSource
from centernet2.predict.prediction import Prediction
from centernet2.predict.tracking import UNCONFIRMED, lowest_threshold, track
from tests.helpers.films import require_av

require_av()
pytest.importorskip("trackers", reason="tracks need trackers, the extra [track]")

FRAMES, HEIGHT, WIDTH, SIDE = 100, 240, 320, 20
PILLAR = slice(140, 180)  # columns that hide what is behind
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
NAMES = ("car", "bus")


def place(number: int, frame: int) -> tuple[float, float] | None:
    """Return left and top of an object; None: it is not there."""
    t = frame
    there_and_back = 40 + 3.4 * min(t, 50) - 3.4 * max(0, t - 50)
    paths = {
        0: (10 + 3 * t, 40),  # from left to right, behind the pillar
        1: (300 - 3 * t, 90),  # from right to left
        2: (there_and_back, 140),
        3: (20 + 2.5 * t, 215),  # below the end of the line
        4: (60 + 2 * np.sin(t), 180),  # trembles in place
    }
    if number == 5:  # a false detection at both sides of the line for two frames
        return {30: (120.0, 10.0), 31: (182.0, 10.0)}.get(t)
    return paths[number]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "objects"
    with FilmWriter(path, Fraction(25)) as writer:
        for frame in range(FRAMES):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            for number, color in enumerate(COLORS):
                if (corner := place(number, frame)) is not None:
                    left, top = round(corner[0]), round(corner[1])
                    image[top : top + SIDE, left : left + SIDE] = color
            image[:, PILLAR] = 128
            writer.write(image, Fraction(frame, 25))
    return path.with_name("objects.mp4")


def detect(film: Path) -> Iterator[Prediction]:
    """Yield what a perfect detector sees: the visible part of each object, by its color."""
    with Film(FilmSource(str(film), str(film))) as opened:
        for frame, (image, time) in enumerate(opened.frames()):
            boxes, scores = [], []
            for color in COLORS:
                distance = np.abs(image - np.array(color, float)).max(axis=2)
                rows, columns = (distance < 80).nonzero()
                if len(rows) < 20:
                    continue
                low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
                boxes.append([*map(float, low), *map(float, high)])
                scores.append(min(0.9, 0.9 * len(rows) / SIDE**2))
            order = np.argsort(scores)[::-1]
            yield Prediction(
                np.array(boxes, np.float32)[order],
                np.array(scores, np.float32)[order],
                np.zeros(len(boxes), np.int64),
                (HEIGHT, WIDTH),
                NAMES,
                film,
                frame,
                float(time),
            )


def test_objects_keep_their_numbers_behind_a_pillar(film: Path) -> None:
    tracked = list(track(detect(film), 0.5))
    assert len(tracked) == FRAMES
    seen: dict[int, set[int]] = {}
    for prediction in tracked:
        for box, number in zip(prediction.boxes, prediction.ids.tolist(), strict=True):
            if number != UNCONFIRMED:
                seen.setdefault(number, set()).add(nearest(prediction.frame or 0, box))
    assert sorted(seen.values(), key=min) == [{0}, {1}, {2}, {3}, {4}]


def nearest(frame: int, box: np.ndarray) -> int:
    """Return the object that is nearest to a box."""
    corners = [place(number, frame) or (-999, -999) for number in range(len(COLORS))]
    return int(np.abs(np.array(corners) - box[:2]).sum(axis=1).argmin())


def test_counts_are_exact(film: Path) -> None:
    line = Line((160, 20), (160, 200))
    zone = Zone([(240, 0), (320, 0), (320, 200), (240, 200)])
    events: list[Event] = []
    for prediction in track(detect(film), 0.5):
        events += line.update(prediction) + zone.update(prediction)
    assert count_events(events) == {
        "line": {"back": {"car": 2}, "forth": {"car": 2}},  # one there, one back, one both
        "zone": {"entered": {"car": 2}},
    }
    times = [each.time for each in events]
    assert times == sorted(times) and all(each.id != UNCONFIRMED for each in events)


def test_object_of_two_classes_counts_once(film: Path) -> None:
    line = Line((160, 20), (160, 200))
    events: list[Event] = []
    for prediction in track(map(with_second_class, detect(film)), 0.5):
        second = prediction.labels == 1
        assert second.any() and (prediction.ids[second] == UNCONFIRMED).all()
        events += line.update(prediction)
    assert count_events(events) == {"line": {"back": {"car": 2}, "forth": {"car": 2}}}


def with_second_class(prediction: Prediction) -> Prediction:
    """Add a worse detection of another class beside each one."""
    return replace(
        prediction,
        boxes=np.concatenate([prediction.boxes, prediction.boxes]),
        scores=np.concatenate([prediction.scores, prediction.scores * np.float32(0.9)]),
        labels=np.concatenate([prediction.labels, prediction.labels + 1]),
    )


def test_each_film_has_numbers_of_its_own(film: Path) -> None:
    once = [each.ids.tolist() for each in track(detect(film), 0.5)]
    twice = [each for _ in range(2) for each in detect(film)]
    assert [each.ids.tolist() for each in track(twice, 0.5)] == once * 2


def test_weak_detections_only_continue_objects(film: Path) -> None:
    thresholds = (0.5, 0.99)
    tracked = list(track(detect(film), thresholds))
    weak = [p.ids[p.scores < 0.5] for p in tracked]
    assert sum(map(len, weak)) > 0 and all((ids != UNCONFIRMED).all() for ids in weak)
    assert lowest_threshold(thresholds) == (0.1, 0.1) and lowest_threshold(0.05) == 0.05


def test_images_have_no_tracks(film: Path) -> None:
    photo = Prediction(*(np.zeros(s) for s in ((0, 4), 0, 0)), (5, 5), path=Path("a.jpg"))
    with pytest.raises(ValueError, match=r"a\.jpg is no frame of a film"):
        next(track([photo]))


@pytest.mark.parametrize(("text", "least"), [
    ("1,2,3", 2), ("a,b,c,d", 2), ("1,2,1,2", 2), ("1,2,3,4,5,6", 2), ("1,2,3,4", 3),
    ("nan,0,0,0", 2),
])  # fmt: skip
def test_impossible_lines_and_zones_are_named(text: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"--count-line is '{text}'"):
        parse_points(text, "--count-line", least=least)


def test_points_are_parsed() -> None:
    assert parse_points("1,2, 3.5,-4", "--count-line", least=2) == [(1, 2), (3.5, -4)]
    assert len(parse_points("0,0,9,0,9,9", "--count-zone", least=3)) == 3
