"""Errors of the config, which name the key and the nearest known one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from centernet2.config.keys import OPTIONS
from centernet2.spelling import did_you_mean

Choice = TypeVar("Choice", bound=str)


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key or file and what to do."""


def one_of(value: str, known: Sequence[Choice], key: str) -> Choice:
    """Return the value if it is one of the known ones, else raise ConfigError."""
    for choice in known:
        if choice == value:
            return choice
    words = ", ".join(choice or "''" for choice in known)
    raise ConfigError(f"{key} is '{value}'; choose one of {words}")


@contextmanager
def add_keys(*groups: str) -> Iterator[None]:
    """Turn a ValueError into a ConfigError that also names the keys.

    Args:
        groups: fields of Config; the keys are those of their options that the error mentions.
    """
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        keys = [
            option.key
            for option in OPTIONS
            if option.field.split(".")[0] in groups
            and re.search(rf"\b{option.field.split('.')[-1]}\b", str(error))
        ]
        raise ConfigError(f"{error} ({', '.join(keys)})" if keys else str(error)) from error


def nearest_option(word: str, known: Sequence[str]) -> str:
    """Suggest the most similar known word, as the end of an error message."""
    if word.startswith("--"):  # a misspelled command-line option is parsed as a key
        return "; --help lists the command's options"
    return did_you_mean(word, known)
