"""The command line: parse arguments, call one function, turn a user's mistake into one line and exit code 2.

The modules of the commands import what they need inside their functions, so that help comes at once.
"""

import logging
import os
import sys

from cyclopts import App, CycloptsError

from centernet2.cli import benchmark, data, evaluate, predict, pseudo_label, show, train
from centernet2.cli.logs import start_logging

EXIT_MISTAKE = 2
EXIT_KEYBOARD = 130  # as shells report a program that Ctrl-C has ended
logger = logging.getLogger(__name__)

app = App(
    name="centernet2",
    help="CenterNet2: probabilistic two-stage object detection.",
    help_format="plaintext",
)
app.command(train.train)
app.command(evaluate.evaluate, name="eval")
app.command(evaluate.compare)
app.command(evaluate.threshold)
app.command(predict.predict)
app.command(pseudo_label.pseudo_label)
app.command(benchmark.benchmark)
app.command(data.check)
app.command(data.show)
app.command(data.convert)
app.command(show.list_models, name="models")
app.command(show.show_config, name="config")
app.command(show.doctor)


def main() -> None:
    """Entry point of the command."""
    start_logging()
    os.environ.setdefault(
        "THP_MEM_ALLOC_ENABLE", "1"
    )  # PyTorch asks for large pages: before its first large tensor
    try:
        app(exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(EXIT_MISTAKE)
    except (ValueError, FileNotFoundError) as error:
        logger.error("%s", error)
        logger.debug("", exc_info=True)
        sys.exit(EXIT_MISTAKE)
    except KeyboardInterrupt:
        logger.warning("interrupted")
        sys.exit(EXIT_KEYBOARD)
    except Exception as error:
        from centernet2.jobs.train import TrainingInterrupted
        from centernet2.training.callbacks import EXIT_INTERRUPTED

        if not isinstance(error, TrainingInterrupted):
            raise
        logger.warning("%s", error)
        sys.exit(EXIT_INTERRUPTED)
