"""Errors of a training run name the keys of its config, and come before anything is written."""

from pathlib import Path

import pytest

from centernet2.config import ConfigError
from tests.helpers.training import train, write_blocks


def test_unknown_tracker_is_named_with_its_key(tmp_path: Path) -> None:
    data = write_blocks(tmp_path)
    with pytest.raises(ConfigError, match=r"trackers names 'wb'; .*\(SOLVER.TRACKERS\)"):
        train(data, tmp_path / "run", "SOLVER.TRACKERS", "('wb',)")


@pytest.mark.parametrize(("options", "message"), [
    (("INPUT.CUSTOM_AUG", "Jitter"), "INPUT.CUSTOM_AUG is 'Jitter'"),
    (("DATALOADER.SAMPLER_TRAIN", "Any"), "DATALOADER.SAMPLER_TRAIN is 'Any'"),
    (("SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "sum"),
     "SOLVER.CLIP_GRADIENTS.CLIP_TYPE is 'sum'"),
    (("TEST.AUG.ENABLED", "True", "TEST.AUG.MERGE", "soft"), "TEST.AUG.MERGE is 'soft'"),
])  # fmt: skip
def test_options_of_later_steps_are_refused_before_an_earlier_run_is_moved(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    data, output = write_blocks(tmp_path), tmp_path / "run"
    output.mkdir()
    (output / "model_final.pth").write_bytes(b"of an earlier run")
    with pytest.raises(ConfigError, match=message):
        train(data, output, *options)
    assert [path.name for path in output.iterdir()] == ["model_final.pth"]
