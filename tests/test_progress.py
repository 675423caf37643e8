"""Lines about the progress of long work are LOG_SECONDS apart, and count its images."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import rich
from rich.console import Console

from centernet2 import progress


@pytest.mark.parametrize(("total", "lines"), [
    (40, ["evaluated 20 of 40 images, 1.0/s, 20 s left", "evaluated 40 of 40 images, 1.0/s, 0"]),
    (None, ["predicted 20 images, 1.0/s", "predicted 40 images, 1.0/s"]),
    (25, ["evaluated 20 of 25 images, 1.0/s, 5 s left", "evaluated 40 images, 1.0/s"]),
])  # fmt: skip
def test_lines_count_images(
    total: int | None,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])

    def work() -> Iterator[int]:
        for _ in range(4):
            seconds[0] += 10
            yield 10

    verbs = ("evaluating", "evaluated") if total else ("predicting", "predicted")
    with caplog.at_level(logging.INFO):
        shown = progress.with_progress(work(), verbs, total=total, images_in=lambda item: item)
        assert sum(shown) == 40
    assert [m[: len(line)] for m, line in zip(caplog.messages, lines, strict=True)] == lines


def test_bar_shows_any_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, force_interactive=True, width=200)
    monkeypatch.setattr(rich, "_console", console)
    verbs = ("reading images in {1}/[old]/[/x]", "read")
    assert sum(progress.with_progress([1, 2], verbs, total=2)) == 3
    assert verbs[0] in shown.getvalue()
