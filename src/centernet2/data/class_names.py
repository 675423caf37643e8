"""Lists of class names: joining one to another, and showing them in messages."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from centernet2.files import one_form
from centernet2.structures import IntArray

SHOWN_NAMES = 5  # of a longer list


def clean_name(text: str) -> str:
    """Return a class name without surrounding spaces, in one Unicode form."""
    return one_form(text.strip())


def similar_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each name with a later one that differs in upper and lower case alone."""
    first: dict[str, str] = {}
    pairs = ((first.setdefault(name.casefold(), name), name) for name in names)
    return [(earlier, name) for earlier, name in pairs if earlier != name]


class ClassJoin(NamedTuple):
    """Where the classes of one list are in another one."""

    labels: IntArray  # [C] label in the other list; -1: it lacks the class
    missing: tuple[str, ...]  # classes of the other list that this one lacks
    added: tuple[str, ...]  # classes that the other list lacks


def join_classes(names: Sequence[str], others: Sequence[str]) -> ClassJoin:
    """Join the classes `names` to the classes `others` by their names."""
    label_of = {clean_name(name): label for label, name in enumerate(others)}
    own = set(map(clean_name, names))
    return ClassJoin(
        np.array([label_of.get(clean_name(name), -1) for name in names], dtype=np.int64),
        tuple(name for name in others if clean_name(name) not in own),
        tuple(name for name in names if clean_name(name) not in label_of),
    )


def shown(names: Sequence[str]) -> str:
    """List class names for a message; only the first ones of many."""
    first = ", ".join(names[:SHOWN_NAMES])
    return first if len(names) <= SHOWN_NAMES else f"{first} and {len(names) - SHOWN_NAMES} more"


def class_list(names: Sequence[str]) -> str:
    """Count and list class names for a message."""
    return f"{'1 class' if len(names) == 1 else f'{len(names)} classes'} ({shown(names)})"
