"""How the program's own log looks."""

import logging
import os


def start_logging() -> None:
    """Lines for a person on a terminal; elsewhere, as in a file, whole lines with date and level.

    Of a job of several processes the first one tells what it does, the others their warnings alone.
    """
    from rich import get_console
    from rich.logging import RichHandler

    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    if get_console().is_terminal:
        handlers = [RichHandler(show_path=False, markup=False)]
        logging.basicConfig(level=level, format="%(message)s", handlers=handlers)
    else:
        logging.basicConfig(
            level=level, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )
