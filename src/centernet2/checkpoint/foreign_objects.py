"""PyTorch files that hold other objects beside tensors; these are not built.

Training programs also save their arguments, schedules and numbers of NumPy, which PyTorch refuses.
A stand-in takes the place of each such object, so no code of the file or of its modules runs.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from torch.serialization import safe_globals

logger = logging.getLogger(__name__)

MAX_KINDS = 100  # of objects; each costs an attempt
ARRAYS: tuple[Any, ...] = (  # what arrays and numbers of NumPy are made of; its modules by version
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    (np.ndarray, "numpy.ndarray"),
    (np.dtype, "numpy.dtype"),
    *(
        (getattr(import_module(f"numpy._core.{module}"), name), f"numpy.{core}.{module}.{name}")
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"),
        )
    ),
)  # fmt: skip
# in errors of PyTorch, which leave out the module builtins
NOT_ALLOWED = re.compile(r"GLOBAL ([^\s]+) was not an allowed global")
NOT_KEYED = re.compile(r"Can only SETITEMS? for dict.*'>?[^']*\.unread_([^']+)'>", re.DOTALL)


class Unread(list[Any]):
    """Stand-in for an object: it takes every argument and state, and does nothing."""

    kind = ""  # module and class of the object
    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be a key

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


class UnreadMapping:
    """Makes a plain dictionary in place of an object that has keys."""

    def __new__(cls, *_: object, **__: object) -> Any:
        return OrderedDict()


def load_without_objects(path: Path, load: Callable[[], Any]) -> Any:
    """Call PyTorch's reader; objects that it does not know become stand-ins.

    Args:
        load: reads the file, with `weights_only`.
    """
    kinds: dict[str, type] = {}
    while True:
        names = [(kind, name) for own, kind in kinds.items() for name in (own, f"builtins.{own}")]
        try:
            with safe_globals([*ARRAYS, *names]):
                content = load()
        except Exception as error:
            if len(kinds) == MAX_KINDS or not _learn(kinds, str(error)):
                raise
            continue
        if kinds:
            logger.info("%s: not read: %s", path, ", ".join(kinds))
        return content


def _learn(kinds: dict[str, type], message: str) -> bool:
    """Add the stand-in that an error of PyTorch asks for; False: it asks for none."""
    if (found := NOT_ALLOWED.search(message)) and found[1] not in kinds:
        kinds[found[1]] = type(f"unread_{found[1]}", (Unread,), {"kind": found[1]})
        return True
    if (found := NOT_KEYED.search(message)) and kinds.get(found[1]) is not UnreadMapping:
        kinds[found[1]] = UnreadMapping
        return True
    return False
