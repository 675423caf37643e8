"""One training run at a time writes an output folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from centernet2.builders.training.earlier_run import LOCK_FILE, only_run_in
from centernet2.config import ConfigError

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_folder_of_a_run_is_held_until_its_process_ends(tmp_path: Path) -> None:
    output = tmp_path / "new"
    with only_run_in(output):
        assert (output / LOCK_FILE).is_file()
    assert not list(output.iterdir())
    (output / LOCK_FILE).touch()  # of a killed process
    words = [sys.executable, "-c", HOLD, str(output / LOCK_FILE)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        refusal = pytest.raises(ConfigError, match=r"another training run is writing .*new; wait")
        with refusal, only_run_in(output):
            pass
        other.kill()
    with only_run_in(output):
        pass
