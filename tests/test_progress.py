"""Lines about the progress of long work are LOG_SECONDS apart."""

import pytest

from centernet2 import progress


def test_line_is_due_after_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    clock, due = progress.ProgressClock(), []
    for seconds[0] in range(0, 60, 4):
        if clock.is_line_due():
            due.append(clock.seconds)
    assert due == [16, 32, 48]
