"""What several commands take and print alike."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

NOTHING_WRAPS = 130  # columns of a table that goes to a file or a pipe

# KEY VALUE pairs after the options may hold values that look like options: -1
Pairs = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="options of the configuration: KEY VALUE ...")
]
Flag = Annotated[bool, Parameter(negative=())]


def print_metrics(metrics: dict[str, float]) -> None:
    """Prints the figures of an evaluation as a table, on the main process."""
    from rich import get_console

    from centernet2.report.tables import metrics_table

    if os.environ.get("RANK", "0") == "0":  # the processes of a job have parted by now
        get_console().print(metrics_table(metrics))


def wide_console() -> "Console":
    """The terminal, or where the output goes elsewhere, one on which wide tables fit."""
    from rich import get_console
    from rich.console import Console

    return get_console() if get_console().is_terminal else Console(width=NOTHING_WRAPS)
