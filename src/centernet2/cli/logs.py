"""How the program's own log looks."""

import logging


def start_logging() -> None:
    """Lines for a person on a terminal; elsewhere, as in a file, whole lines with date and level."""
    from rich import get_console
    from rich.logging import RichHandler

    if get_console().is_terminal:
        handlers = [RichHandler(show_path=False, markup=False)]
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers)
    else:
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )
