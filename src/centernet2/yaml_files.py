"""YAML of users: its content, or one sentence on what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Loader = yaml.BaseLoader | yaml.SafeLoader


class TextLoader(yaml.BaseLoader):
    """YAML loader that keeps scalars as text and refuses keys that occur twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key in repeated_keys(node):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} occurs twice", key.start_mark
            )
        return super().construct_mapping(node, deep)


def repeated_keys(node: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
    """Yield the keys of a mapping that occurred before in it."""
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                yield key
            seen.add(key.value)


def parse_yaml(text: str, name: str | Path, loader: type[Loader] = yaml.SafeLoader) -> Any:
    """Return the content of YAML, with the types of scalars that the loader knows.

    Raises:
        ValueError: the text is no YAML; the message names the file and the line.
    """
    try:
        reader = loader(text)
        reader.name = str(name)
        return reader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or "not YAML"
        raise ValueError(f"{name}{line}: the YAML cannot be read ({reason}); correct it") from None
    except RecursionError:
        raise ValueError(f"{name}: the YAML cannot be read (nested too deeply)") from None
    except ValueError:  # types of SafeLoader: thousands of digits, the 99th month
        raise ValueError(
            f"{name} has a number or a date that no program can read; correct it"
        ) from None
