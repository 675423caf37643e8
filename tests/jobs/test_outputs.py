"""Outputs of all commands: what cannot be written is refused before the work."""

from pathlib import Path

import pytest

from centernet2.cli import app

COMMANDS = [
    "benchmark --config-file CenterNet2_R18_small --output",
    "check data --report",
    "check data --findings-only --fix",
    "compare one.json other.json --output",
    "convert data --to coco --output",
    "eval --weights model.pth --output-dir",
    "eval --predictions results.json --report",
    "predict photo.jpg --weights model.pth --output",
    "pseudo-label --weights model.pth --images photos --output",
    "show data --output",
    "threshold model.pth --output",
    "train --data data --output-dir",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_unusable_output_is_refused_first(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "a.jpg"
    with pytest.raises(ValueError, match=r"a\.jpg cannot be used: .*file is not a folder"):
        app([*command.split(), str(output)], exit_on_error=False)
