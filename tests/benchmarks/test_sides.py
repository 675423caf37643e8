"""The processes that benchmarks compare."""

import sys
from pathlib import Path

import pytest


def test_side_that_has_ended_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from sides import Side

    side = Side([sys.executable, "-c", "raise SystemExit('a package is missing')"])
    side.process.wait()
    with pytest.raises(SystemExit, match="ended without an answer"):
        side.run()
