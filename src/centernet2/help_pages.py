"""Help pages of the commands, for terminals of any width."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


class HelpPages:
    """Printer of a help page, without the line breaks of docstrings in the source.

    Args:
        find_job: returns the function whose docstring describes the command; None: the description
            that the argument parser knows, which is the one of the program.
    """

    def __init__(self, find_job: Callable[[], Callable[..., Any]] | None = None) -> None:
        self.find_job = find_job

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Print the first line."""
        from cyclopts.help import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def render_description(self, console: "Console", options: "ConsoleOptions", text: Any) -> None:
        """Print what the command does: the docstring up to its sections."""
        if self.find_job is not None:
            text = describe(self.find_job()) + "\n"
        console.print(text, highlight=False, markup=False)

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print a group of options or commands."""
        from cyclopts.help import DefaultFormatter

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if text is not None:
                text.plain = " ".join(text.plain.split())
        DefaultFormatter()(console, options, panel)


def describe(job: Callable[..., Any]) -> str:
    """Return the paragraphs before the sections of a docstring, a line for each."""
    paragraphs = (inspect.getdoc(job) or "").split("\n\n")
    sections = [index for index, text in enumerate(paragraphs) if "\n---" in text]
    described = paragraphs[: min(sections, default=len(paragraphs))]
    return "\n\n".join(" ".join(text.split()) for text in described)


def shown_default(value: Any) -> Any:
    """Return the default of an option for its help; None: it says nothing."""
    if value is False:
        return None
    return " ".join(map(str, value)) or None if isinstance(value, tuple) else value
