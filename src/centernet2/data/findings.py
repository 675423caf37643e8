"""Problems of a data set by kind, with their counts and how training treats them.

The readers collect them while they read. `centernet2 check` shows all of them; every other command
refuses the data set or says what was dropped and repaired.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from centernet2 import distributed
from centernet2.files import printable

logger = logging.getLogger(__name__)

# how training treats a problem, the most severe first; a note is not a problem
Action = Literal["refuses", "drops", "repairs", "keeps", "note"]
ACTIONS: tuple[Action, ...] = ("refuses", "drops", "repairs", "keeps", "note")
MAX_EXAMPLES = 5  # of a finding
DONE: dict[Action, str] = {"drops": "dropped", "repairs": "repaired", "keeps": "kept"}

Item = TypeVar("Item")
Xywh = tuple[float, float, float, float]  # x, y, width, height


class ProblemExample(NamedTuple):
    """One occurrence of a problem."""

    text: str  # names the record, as the beginning of a sentence
    file_name: str = ""
    box: Xywh | None = None


class Finding(NamedTuple):
    """One kind of problem in one split."""

    split: str
    kind: str
    total: int
    action: Action
    advice: str
    examples: tuple[ProblemExample, ...]  # the first ones


class FindingLog:
    """The findings of one split, in the order in which they are made."""

    def __init__(self, split: str, *, max_examples: int | None = MAX_EXAMPLES) -> None:
        self.split, self.max_examples = split, max_examples
        self.findings: list[Finding] = []

    def add(
        self,
        kind: str,
        action: Action,
        advice: str,
        found: Sequence[Item],
        example: Callable[[Item], ProblemExample],
    ) -> None:
        """Add a finding, unless nothing has the problem.

        Args:
            found: what has the problem.
            example: words one of them.
        """
        if len(found):
            examples = (example(each) for each in found[: self.max_examples])
            shown = tuple(each._replace(text=printable(each.text)) for each in examples)
            self.findings.append(Finding(self.split, kind, len(found), action, advice, shown))


class Problem(NamedTuple):
    """A kind of problem that a reader meets, and how training treats it."""

    kind: str
    action: Action
    advice: str


class Tally:
    """Counts the problems that a reader meets in one split."""

    def __init__(self, split: str) -> None:
        self.split = split
        self._found: dict[Problem, tuple[int, list[ProblemExample]]] = {}

    def add(self, problem: Problem, text: str, file_name: str = "") -> None:
        """Count one occurrence; the text names file and line or element."""
        total, examples = self._found.get(problem, (0, []))
        if total < MAX_EXAMPLES:
            examples.append(ProblemExample(printable(text), file_name))
        self._found[problem] = (total + 1, examples)

    def findings(self) -> tuple[Finding, ...]:
        """Return a finding per kind of problem, in the order of their first occurrences."""
        return tuple(
            Finding(
                self.split, problem.kind, total, problem.action, problem.advice, tuple(examples)
            )
            for problem, (total, examples) in self._found.items()
        )


def raise_refusal(source: Path | str, findings: Iterable[Finding]) -> None:
    """Raise ValueError for the first finding for which training refuses the data set."""
    for each in findings:
        if each.action == "refuses":
            first = each.examples[0].text + (f" (first of {each.total})" if each.total > 1 else "")
            raise ValueError(f"{source}: {each.kind}: {first}; {each.advice}")


def log_changes(source: Path | str, findings: Iterable[Finding]) -> None:
    """Say what was dropped, repaired and kept, one sentence per kind of problem."""
    for each in findings:
        done = DONE.get(each.action)
        if done and distributed.is_main_process():
            logger.warning(
                "%s: %s: %d %s; %s (first: %s)",
                source, each.kind, each.total, done, each.advice, each.examples[0].text,
            )  # fmt: skip


def findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Convert findings to JSON objects."""
    return [
        {
            "split": each.split,
            "kind": each.kind,
            "count": each.total,
            "training": each.action,
            "advice": each.advice,
            "examples": [example.text for example in each.examples[:MAX_EXAMPLES]],
        }
        for each in findings
    ]
