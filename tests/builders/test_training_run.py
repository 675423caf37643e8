"""Errors of a training run name the keys of its config."""

from pathlib import Path

import pytest

from centernet2.config import ConfigError
from tests.helpers.training import train, write_blocks


def test_unknown_tracker_is_named_with_its_key(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    with pytest.raises(ConfigError, match=r"trackers names 'wb'; .*\(SOLVER.TRACKERS\)"):
        train(data, tmp_path / "run", "SOLVER.TRACKERS", "('wb',)")
