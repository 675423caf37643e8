"""Check the arguments of Python functions: names, types, ranges, empty paths."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any, ParamSpec, TypeVar

from centernet2.ranges import Accepted
from centernet2.spelling import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")
ANY_NUMBER = Accepted()
# A name has one type in all functions; flags are known by their default. A test compares these with
# the annotations of the commands.
PATHS = frozenset(
    ("accepted", "approved", "calibration", "card", "config", "data", "data_path", "file", "first",
     "fix", "images", "model", "name", "output", "output_dir", "pool", "predictions", "report",
     "second", "token_file", "weights", "with_model")
)  # fmt: skip
SOURCES = frozenset(("data", "data_path", "images"))  # of these, Path("") is the current folder
TEXTS = frozenset(
    ("device", "dtype", "effort", "engine", "host", "label_studio", "size", "split", "to")
)
WHOLE_NUMBERS = frozenset(
    ("batch", "batch_size", "count", "folds", "max_detections", "max_queue", "port", "runs",
     "samples", "seed", "threads", "tile")
)  # fmt: skip
NUMBERS = frozenset(
    ("accepted_loss", "confidence", "max_megabytes", "max_megapixels", "max_wait", "minutes",
     "overlap", "precision", "recall", "required_share", "stream_timeout", "suspicion",
     "timeout", "val_fraction")
)  # fmt: skip

# what some arguments may be instead of a path, by name; their readers know the classes
OBJECTS = {"config": "a Config or ", "model": "a Detector or ", "name": "a Config or "}
DTYPES = {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16"}
PLAIN_TYPES = (int, float, bytes, list, tuple, dict, set, type(None))


class ArgumentValueError(ValueError):
    """An argument that a function does not take; `name` is its name in Python."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name, self.reason = name, reason


def checked(**ranges: Accepted) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the arguments of a function before its call.

    The names of its parameters say which types they take. Numbers of NumPy and PyTorch and devices
    of PyTorch become those of Python.

    Args:
        ranges: of numbers, by name of the parameter or of a field of its options.

    Raises:
        ArgumentValueError: at the call, for a value of the wrong type, out of range or empty.
        TypeError: at the call, for a name that is none of the parameters.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        called = function.__qualname__.removesuffix(".__init__").removesuffix(".__call__")

        @wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            _refuse_unknown(called, options, signature.parameters)
            try:
                bound = signature.bind(*args, **options)
            except TypeError as error:
                raise TypeError(f"{called}() is {error}") from None
            for name, value in bound.arguments.items():
                parameter = signature.parameters[name]
                if parameter.kind is parameter.VAR_POSITIONAL:
                    if name in PATHS:
                        bound.arguments[name] = tuple(
                            _as_path(name, each) if isinstance(each, str | os.PathLike) else each
                            for each in value
                        )
                else:
                    bound.arguments[name] = as_argument(name, value, parameter.default, ranges)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def as_argument(
    name: str, value: Any, default: Any = None, ranges: Mapping[str, Accepted] | None = None
) -> Any:
    """Check an argument by its name, and return it in Python's own type.

    None is accepted where it is the default; options have the class of their default.
    """
    if is_dataclass(default) and not isinstance(default, type):
        return _as_options(name, value, default, ranges)
    if value is None and (default is None or name == "device"):  # None: the device of the config
        return None
    if name in PATHS:
        return _as_path(name, value)
    if name in TEXTS:
        return _as_text(name, value)
    if isinstance(default, bool):
        return _as_flag(name, value)
    if name in WHOLE_NUMBERS | NUMBERS:
        return _as_number(name, value, (ranges or {}).get(name, ANY_NUMBER))
    return value


def _as_options(name: str, value: Any, default: Any, ranges: Mapping[str, Accepted] | None) -> Any:
    kind = type(default)
    if not isinstance(value, kind):
        raise ArgumentValueError(name, f"is {_shown(value)}; it takes {kind.__name__}(...)")
    given = {each.name: getattr(value, each.name) for each in fields(value)}
    known = {each.name: getattr(default, each.name) for each in fields(default)}
    plain = {key: as_argument(key, each, known[key], ranges) for key, each in given.items()}
    return replace(value, **plain)


def _as_path(name: str, value: Any) -> Any:
    """Return a path, from the home folder for ~/; readers judge models and configs."""
    if not isinstance(value, str | os.PathLike):
        if name in OBJECTS and not isinstance(value, PLAIN_TYPES):
            return value
        wanted = f"{OBJECTS.get(name, '')}a path, a str or os.PathLike"
        raise ArgumentValueError(name, f"is {_shown(value)}; it takes {wanted}")
    text = os.fsdecode(value).strip()
    if not text:
        raise ArgumentValueError(name, "is empty; give a path, and the current folder as '.'")
    if text == "." and isinstance(value, PurePath) and name not in SOURCES:
        raise ArgumentValueError(
            name, "is Path('.'), as an empty Path is, too; give the current folder as '.'"
        )
    if text == "~" or text.startswith("~/"):  # the shell leaves --output=~/mine as it is
        home = os.path.expanduser(text)
        return home if isinstance(value, str) else Path(home)
    return value


def _as_text(name: str, value: Any) -> str:
    if type(value).__module__ == "torch" and name in ("device", "dtype"):
        return DTYPES.get(str(value), str(value))
    if not isinstance(value, str):
        raise ArgumentValueError(name, f"is {_shown(value)}; it takes a text")
    if not value.strip():
        raise ArgumentValueError(name, "is empty; leave it out, or give a value")
    return value


def _as_flag(name: str, value: Any) -> bool:
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise ArgumentValueError(name, f"is {_shown(value)}; it takes True or False")
    return plain


def _as_number(name: str, value: Any, accepted: Accepted) -> int | float:
    plain = _plain(value)
    kind = int if name in WHOLE_NUMBERS else float
    is_number = isinstance(plain, Integral if kind is int else Real)
    if not is_number or isinstance(plain, bool) or not accepted.accepts(kind(plain)):
        raise ArgumentValueError(name, f"is {_shown(plain)}; it takes {accepted.describe(kind)}")
    return kind(plain)


def _plain(value: Any) -> Any:
    """Return a number of NumPy or PyTorch as one of Python."""
    return value.tolist() if hasattr(value, "tolist") else value


def _shown(value: Any) -> str:
    """Describe a value: short ones as they are, others by their type."""
    text = repr(value)
    return text if len(text) <= 40 else f"of type {type(value).__name__}"


def _refuse_unknown(
    function: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> None:
    """Raise TypeError for a name that is no parameter, with the nearest one."""
    from centernet2.usage import find_replacement  # with cyclopts, which only commands need

    groups = {
        field.name: (name, type(parameter.default).__name__)
        for name, parameter in parameters.items()
        if is_dataclass(parameter.default)
        for field in fields(parameter.default)
    }
    for name in options:
        if name in parameters:
            continue
        start = f"{function}() has no argument '{name}'"
        if name in groups:
            group, kind = groups[name]
            raise TypeError(f"{start}; write {group}={kind}({name}=...)")
        replacement = find_replacement(name, function)
        if replacement and replacement.option in parameters:
            raise TypeError(f"{start}; it is called '{replacement.option}'")
        if replacement and replacement.key and "overrides" in parameters:
            override = {replacement.key: replacement.value}
            raise TypeError(f"{start}; give an override: {function}(..., {override})")
        hint = did_you_mean(name, [*parameters, *groups])
        raise TypeError(start + (hint or f"; it has {', '.join(parameters)}"))
