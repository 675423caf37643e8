"""The values that an option accepts: ranges of numbers, and lengths of lists."""

import math
from dataclasses import dataclass
from typing import Any, get_args

WORDS = {  # by type: one value, several values
    bool: ("True or False", "values True or False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
}

FINITE = {"a number": "a finite number", "numbers": "finite numbers"}


@dataclass(frozen=True)
class Accepted:
    """Numbers in a range, or a list of them; infinity and NaN are in no range."""

    low: float = -math.inf
    high: float = math.inf
    excluded: tuple[float, ...] = ()  # ends of the range that do not belong to it
    also: float | None = None  # a number outside that has a meaning of its own
    count: int | None = None  # numbers of a list; of a list of lists, of each inner one
    nonempty: bool = False
    ascending: bool = False  # equal neighbors are accepted

    def accepts(self, value: Any) -> bool:
        """Whether a value of the right type is accepted."""
        if not isinstance(value, tuple):
            return self._has(value)
        if self.nonempty and not value:
            return False
        if any(isinstance(each, tuple) for each in value):
            return all(map(self._accepts_list, value))
        return self._accepts_list(value)

    def describe(self, kind: Any) -> str:
        """Describe the accepted values of a type, as the end of a sentence."""
        parts = get_args(kind)
        if type(None) in parts:
            return f"None or {self.describe(parts[0])}"
        if not parts:
            also = "" if self.also is None else f", or {self.also}"
            return f"{self._finite(WORDS[kind][0])}{self._interval()}{also}"
        some = "a list of one or more" if self.nonempty else "a list of"
        if inner := get_args(parts[0]):
            return f"{some} lists of {self._describe_list(inner[0])}"
        return f"{some} {self._describe_list(parts[0])}"

    def _accepts_list(self, values: tuple[Any, ...]) -> bool:
        in_order = not self.ascending or list(values) == sorted(values)
        fits = self.count is None or len(values) == self.count
        return fits and in_order and all(map(self._has, values))

    def _has(self, value: Any) -> bool:
        if isinstance(value, str | bool | None):
            return True
        inside = self.low <= value <= self.high and value not in self.excluded
        return (inside and math.isfinite(value)) or value == self.also

    def _describe_list(self, kind: Any) -> str:
        count = "" if self.count is None else f"{self.count} "
        order = ", in ascending order" if self.ascending else ""
        return f"{count}{self._finite(WORDS[kind][1])}{self._interval()}{order}"

    def _finite(self, words: str) -> str:
        """Say that a number is finite where no interval says it."""
        is_any = math.isinf(self.low) and math.isinf(self.high)
        return FINITE.get(words, words) if is_any else words

    def _interval(self) -> str:
        """Describe the range with a leading space; empty: it has no ends."""
        low = f" {'above' if self.low in self.excluded else 'from'} {self.low}"
        high = f" {'below' if self.high in self.excluded else 'up to'} {self.high}"
        if math.isinf(self.low):
            return "" if math.isinf(self.high) else high
        if math.isinf(self.high):
            return low
        return f"{low} and{high}" if self.excluded else f"{low} to {self.high}"


def at_least(low: float, **more: Any) -> Accepted:
    """Accept numbers from `low`; `more` are further fields of Accepted."""
    return Accepted(low=low, **more)


def above(low: float, **more: Any) -> Accepted:
    """Accept numbers above `low`."""
    return Accepted(low=low, excluded=(low,), **more)


def between(low: float, high: float, **more: Any) -> Accepted:
    """Accept numbers from `low` to `high`."""
    return Accepted(low=low, high=high, **more)
