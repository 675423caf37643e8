"""Problems of a data set by kind, with their counts and how training treats them."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

# how training treats a problem, the most severe first; a note is not a problem
Action = Literal["refuses", "drops", "repairs", "keeps", "note"]
ACTIONS: tuple[Action, ...] = ("refuses", "drops", "repairs", "keeps", "note")
MAX_EXAMPLES = 5  # of a finding

Xywh = tuple[float, float, float, float]  # x, y, width, height


class ProblemExample(NamedTuple):
    """One occurrence of a problem."""

    text: str
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


def make_finding(
    split: str, kind: str, action: Action, advice: str, examples: Iterable[ProblemExample]
) -> Finding | None:
    """Make a finding from all occurrences of a problem; None if there are none."""
    total = 0
    first = []
    for total, example in enumerate(examples, start=1):
        if total <= MAX_EXAMPLES:
            first.append(example)
    return Finding(split, kind, total, action, advice, tuple(first)) if total else None


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
            examples.append(ProblemExample(text, file_name))
        self._found[problem] = (total + 1, examples)

    def findings(self) -> tuple[Finding, ...]:
        """Return a finding per kind of problem, in the order of their first occurrences."""
        return tuple(
            Finding(
                self.split, problem.kind, total, problem.action, problem.advice, tuple(examples)
            )
            for problem, (total, examples) in self._found.items()
        )


def findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Convert findings to JSON objects."""
    return [
        {
            "split": each.split,
            "kind": each.kind,
            "count": each.total,
            "training": each.action,
            "advice": each.advice,
            "examples": [example.text for example in each.examples],
        }
        for each in findings
    ]
