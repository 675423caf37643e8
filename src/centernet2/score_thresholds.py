"""Score thresholds: one for all classes, one per class, or some by class name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from centernet2.files import one_form

if TYPE_CHECKING:  # exported files are run without PyTorch
    from torch import Tensor

# any number, list, array or tensor; a mapping is by class name
Threshold: TypeAlias = Union[
    SupportsFloat, Sequence[SupportsFloat], NDArray[Any], "Tensor", Mapping[str, Any]
]
Column = TypeVar("Column", "NDArray[Any]", "Tensor")
Resolved: TypeAlias = float | tuple[float, ...]  # for all classes, or per class by label
NO_THRESHOLD = 0.0
ARGUMENT = "score_threshold"  # name in messages


def require_score(value: object, name: str) -> float:
    """Return a number of Python, NumPy or PyTorch in 0..1; a ValueError names it."""
    number = to_python(value)
    if isinstance(number, bool) or not isinstance(number, Real):
        given = "None" if number is None else f"of type {type(value).__name__}"
        raise ValueError(f"{name} is {given}; give a score, a number in 0..1 such as 0.3")
    score = float(number)
    if not 0 <= score <= 1:  # also NaN
        raise ValueError(f"{name} is {score:g}; scores are in 0..1, so give a number such as 0.3")
    return score


def parse_thresholds(words: Sequence[str], name: str) -> Threshold:
    """Parse a threshold: one number, or CLASS=NUMBER, several separated by commas."""
    if len(words) == 1 and "=" not in words[0]:
        return require_score(_number(words[0], name), name)
    scores: dict[str, float] = {}
    for word in words:
        for part in re.split(r"(?<=[\d.]),", word):  # names may have commas
            key, _, value = part.rpartition("=")
            if not key:
                raise ValueError(f"{name} is '{word}'; give one number, or CLASS=NUMBER,...")
            scores[key.strip()] = require_score(_number(value, name), f"{name} {key.strip()}")
    return scores


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is '{text}'; it takes a number in 0..1 such as 0.3") from None


def resolve_thresholds(
    threshold: object, class_names: Sequence[str] | None, num_classes: int | None
) -> Resolved:
    """Return one score threshold for all classes, or one per class by label.

    Args:
        threshold: a number; a list, tuple, array or tensor with a number per class; or a mapping
            from class names to numbers, in which the other classes have no threshold.
        num_classes: None: unknown, and the length of a list is not checked.

    Raises:
        ValueError: a number is no score, or a list or name does not fit the classes.
    """
    if isinstance(threshold, Mapping):
        return _by_name(threshold, class_names)
    plain = to_python(threshold)
    if not isinstance(plain, Sequence) or isinstance(plain, str | bytes):
        return require_score(threshold, ARGUMENT)
    scores = tuple(require_score(each, f"{ARGUMENT}[{i}]") for i, each in enumerate(plain))
    if len(scores) != (num_classes or max(len(scores), 1)):
        owned = "at least one class" if num_classes is None else f"{num_classes} classes"
        names = f" ({', '.join(class_names)})" if class_names and len(class_names) <= 20 else ""
        raise ValueError(
            f"{ARGUMENT} has {len(scores)} values, but the model has {owned}{names}; "
            "give one number, or one for each class"
        )
    return scores


def _by_name(
    threshold: Mapping[Any, object], class_names: Sequence[str] | None
) -> tuple[float, ...]:
    if not class_names:
        raise ValueError(
            f"{ARGUMENT} is by class name, but the model has no class names; give a list by label"
        )
    label_of = {one_form(name): label for label, name in enumerate(class_names)}
    scores = [NO_THRESHOLD] * len(class_names)
    for key, value in threshold.items():
        label = label_of.get(one_form(key)) if isinstance(key, str) else None
        if label is None:
            near = difflib.get_close_matches(str(key), class_names, n=1, cutoff=0.0)
            raise ValueError(
                f"{ARGUMENT} names the class {key!r}, which the model does not have; "
                f"the nearest of its {len(class_names)} classes is {near[0]!r}"
            )
        scores[label] = require_score(value, f"{ARGUMENT}[{key!r}]")
    return tuple(scores)


def to_python(value: Any) -> Any:
    """Convert what is of NumPy or PyTorch to Python's numbers, texts and lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def above_threshold(scores: Column, labels: Column, threshold: Resolved) -> Column:  # [D] bool
    """Whether each detection reaches the threshold of its class."""
    if isinstance(threshold, float | int):
        return scores >= threshold
    if len(labels) and int(labels.max()) >= len(threshold):
        raise ValueError(
            f"score_threshold has {len(threshold)} values, but the model detects the label "
            f"{int(labels.max())}; give one number, or one for each class"
        )
    if isinstance(scores, np.ndarray):
        reached: NDArray[np.bool_] = scores >= np.array(threshold, scores.dtype)[labels]
        return reached
    return scores >= scores.new_tensor(threshold)[labels]


def describe_threshold(threshold: Resolved) -> str:
    """Return a threshold as words for a message."""
    if isinstance(threshold, float | int):
        return f"the score threshold {threshold:g}"
    low, high = min(threshold), max(threshold)
    values = f"{low:.3g}" if math.isclose(low, high) else f"{low:.3g} to {high:.3g}"
    return f"the score thresholds per class ({values})"
