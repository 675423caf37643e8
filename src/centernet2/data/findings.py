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
