"""Find images by ids and by names of files, however much of a path is given."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from centernet2.data.readers.json_records import lenient_integer
from centernet2.files import is_image_file, one_form, without_image_suffix

UNKNOWN, AMBIGUOUS = -1, -2  # in place of a position

Find = Callable[[Any], int]  # an id or a name -> position, UNKNOWN or AMBIGUOUS


def positions_of(values: Sequence[Hashable]) -> dict[Any, int]:
    """Map each value to its position; one that occurs twice is ambiguous."""
    return _positions_of_all((value, i) for i, value in enumerate(values))


def file_finder(files: Sequence[str]) -> Find:
    """Find files by the end of their path, their name, or the name without suffix."""
    paths = [_parts(file) for file in files]
    ends = _positions_of_all((end, i) for i, parts in enumerate(paths) for end in _ends(parts))
    stems = [without_image_suffix(parts[-1]) for parts in paths]
    by_stem = positions_of(stems)
    by_number = positions_of([lenient_integer(stem) for stem in stems])

    def find(name: Any) -> int:
        if isinstance(name, int):
            return by_number.get(name, UNKNOWN)
        parts = _parts(name) if isinstance(name, str) else ()
        if not parts:
            return UNKNOWN
        known = next((end for end in _ends(parts) if end in ends), None)
        if known is not None:
            return ends[known]
        return by_stem.get(without_image_suffix(parts[-1]), UNKNOWN)

    return find


def is_other_file(name: str, path: str) -> bool:
    """Whether a name states another folder or another suffix than the path of a file."""
    given, own = _parts(name), _parts(path)
    if not given or (is_image_file(given[-1]) and given[-1] != own[-1]):
        return True
    return given[-2:-1] not in ((), own[-2:-1])


def _positions_of_all(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """Map each key to its position; one with several positions is ambiguous."""
    positions: dict[Any, int] = {}
    for key, position in pairs:
        positions[key] = AMBIGUOUS if positions.get(key, position) != position else position
    return positions


def _parts(path: str) -> tuple[str, ...]:
    """Return the names of a path, which may be of Windows."""
    parts = one_form(path).replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", "."))


def _ends(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the ends of a path, the longest first."""
    return [parts[i:] for i in range(len(parts))]
