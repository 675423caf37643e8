"""SOLVER.MAX_MINUTES in a whole training run, on a clock that each reading moves by a second."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from centernet2.builders.training import solver
from centernet2.checkpoint import load_checkpoint
from centernet2.config import ConfigError
from centernet2.training.time_budget import TimeBudget
from tests.helpers.training import train, write_blocks

LONG = ("SOLVER.MAX_ITER", "100000", "SOLVER.CHECKPOINT_PERIOD", "10")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    started, seconds = time.monotonic(), count()
    budget = partial(TimeBudget, clock=lambda: started + next(seconds))
    monkeypatch.setattr(solver, "TimeBudget", budget)
    yield


def test_run_ends_with_its_time_and_is_done(tmp_path: Path) -> None:
    data, output = write_blocks(tmp_path), tmp_path / "run"
    metrics = train(data, output, *LONG, "SOLVER.MAX_MINUTES", "0.5")
    final = load_checkpoint(output / "model_final.pth")
    assert 5 < final.iteration < 30
    assert final.metrics["bbox/AP"] == metrics["bbox/AP"]
    again = train(data, output, *LONG, "SOLVER.MAX_MINUTES", "0.5", resume=True)
    assert again["bbox/AP"] == metrics["bbox/AP"]
    assert load_checkpoint(output / "model_final.pth").iteration == final.iteration


def test_too_little_time_is_refused_before_the_first_step(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    with pytest.raises(ConfigError, match=r"0.05 minutes .* are too few: .* give 1 minutes or"):
        train(data, tmp_path / "run", *LONG, "SOLVER.MAX_MINUTES", "0.05")
    assert not (tmp_path / "run").exists()
