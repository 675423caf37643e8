import math
from collections.abc import Sequence

import pytest

from centernet2.training.best_result import BestResult

NAMES = ("raw", "ema")


def evaluated(
    values: Sequence[float], *, patience: int
) -> tuple[list[tuple[str, int]], BestResult]:
    """Return what is a new best of these metrics, of which odd ones are of averaged weights."""
    best = BestResult(NAMES, patience=patience)
    saved: list[tuple[str, int]] = []
    for iteration, value in enumerate(values, start=1):
        if name := best.update(iteration, {NAMES[iteration % 2]: value}):
            saved.append((name, iteration))
        if best.is_out_of_patience:
            break
    return saved, best


def test_best_of_raw_and_averaged_weights() -> None:
    saved, best = evaluated([1.0, 3.0, math.nan, 2.0, 3.0, 4.0], patience=0)
    assert saved == [("ema", 1), ("raw", 2), ("raw", 6)]
    assert (best.best, best.waited, best.iteration) == (4.0, 0, 6)


def test_patience_ends(caplog: pytest.LogCaptureFixture) -> None:
    saved, best = evaluated([1.0, 3.0, 2.0, 3.0, 4.0], patience=2)
    assert (best.iteration, len(saved)) == (4, 2)
    assert "was not above 3.00 in 2 evaluations" in caplog.text


def test_patience_is_judged_anew_after_a_resume() -> None:
    _, best = evaluated([3.0, 2.0, 1.0], patience=2)
    for patience, ended in ((2, True), (3, False), (0, False)):
        resumed = BestResult(["raw"], patience=patience)
        resumed.load_state_dict(best.state_dict())
        assert (resumed.best, resumed.waited) == (3.0, 2)
        assert resumed.is_out_of_patience is ended
