"""Settings and checks of the tests with random files of other tools."""

import logging
import os
from pathlib import Path

from hypothesis import HealthCheck, settings

VARIABLE = "CENTERNET2_EXAMPLES"  # number of examples; unset: few, the same in every run
EXAMPLES = int(os.environ.get(VARIABLE, "0"))
MOST_HABITS = 4  # of one example


def example_settings(few: int) -> settings:
    """Return the settings of a property test; `few` is its number of examples by default."""
    return settings(
        max_examples=EXAMPLES or few, derandomize=not EXAMPLES, database=None, deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip


class Warnings(logging.Handler):
    """A context that collects the warnings of the package."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.lines.append(record.getMessage())

    def __enter__(self) -> "Warnings":
        logging.getLogger("centernet2").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("centernet2").removeHandler(self)


def assert_one_sentence_with_a_file(message: str, root: Path) -> None:
    """Check that a complaint is one line that names a file below the folder, or the folder."""
    names = {path.name for path in root.rglob("*")}
    assert any(name in message for name in names) or str(root) in message, message
    assert "\n" not in message.strip(), message
