"""Read config files and overrides into a Config."""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from centernet2.config.errors import ConfigError, nearest_option
from centernet2.config.tree import (
    CLASS_KEYS,
    SLOTS,
    Config,
    Overrides,
    check_value,
    freeze,
    is_skipped,
    known_key,
    make_config,
    parse_literal,
    parse_pairs,
)
from centernet2.text_files import read_text_file
from centernet2.yaml_files import parse_yaml, repeated_keys

logger = logging.getLogger(__name__)


def load_config(source: str | os.PathLike[str], overrides: Overrides = ()) -> Config:
    """Read a config file with its base files, and apply overrides.

    Args:
        source: path of a YAML file, or the name of a packaged one such as "CenterNet2_R50_1x".
        overrides: alternating keys and values, ["SOLVER.BASE_LR", 0.01, ...], or a dictionary,
            {"SOLVER.BASE_LR": 0.01}; a value may also be text, as on the command line.

    Raises:
        ConfigError: an unknown name or key, a value of the wrong type, a key without a value.
    """
    path = find_config(source)
    (values, stated), own = _read_tree(path), parse_pairs(overrides)
    config = make_config(path.stem, values | own, base=Config())
    return replace(config, stated=stated | own.keys())


def parse_config(text: str, name: str) -> Config:
    """Parse the text of a resolved config, as a checkpoint holds it."""
    return make_config(name, dict(_flatten(_parse_tree(text, name), name)), base=Config())


def config_names() -> list[str]:
    """Return the names of the packaged configs."""
    names = (path.name for path in _packaged().iterdir())
    return sorted(n[:-5] for n in names if n.endswith(".yaml") and not n.startswith("Base"))


def find_config(source: str | os.PathLike[str]) -> Path:
    """Return the path of a config file, or of the packaged one of that name.

    Of a path that does not exist, only configs/NAME.yaml means the packaged one: commands for the
    reference name its configs so.
    """
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"a config is a path or the name of a packaged one, not a {type(source).__name__}"
        )
    path = Path(source)
    if os.path.isfile(path):  # a text may be too long for the name of a file
        return path
    name = path.name.removesuffix(".yaml")
    packaged = _packaged() / f"{name}.yaml"
    if os.path.isfile(packaged) and path.parent.name in ("", "configs"):
        return packaged
    if os.path.isfile(packaged):
        raise ConfigError(f"there is no config file '{source}'; the packaged config is '{name}'")
    raise ConfigError(
        f"there is no config file '{source}' and no packaged config of that name"
        f"{nearest_option(name, config_names())}"
    )


def _packaged() -> Path:
    return Path(str(resources.files("centernet2"))) / "configs"


def _read_tree(path: Path, above: tuple[Path, ...] = ()) -> tuple[dict[str, Any], frozenset[str]]:
    """Read the values of a file, on top of its _BASE_, and the keys that it states.

    Args:
        above: the files of which this one is the base.
    """
    try:
        text = read_text_file(path)
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error}") from None
    except ValueError as error:  # it names the file and its encoding
        raise ConfigError(str(error)) from None
    tree = _parse_tree(text, str(path))
    base = tree.pop("_BASE_", None)
    values: dict[str, Any] = {}
    stated: frozenset[str] = frozenset()
    if base is not None:
        base_path = _find_base(path, str(base))
        if base_path.resolve() in (each.resolve() for each in (path, *above)):
            raise ConfigError(f"config file {path}: its _BASE_ '{base}' leads back to this file")
        values, stated = _read_tree(base_path, (path, *above))
    own = dict(_flatten(tree, str(path)))
    # A packaged file has the number of classes of its own data. It is no wish of the user.
    wished = own.keys() - set(CLASS_KEYS) if path.is_relative_to(_packaged()) else own.keys()
    return values | own, stated | wished


def _find_base(path: Path, base: str) -> Path:
    try:
        if base.startswith("~/"):
            return find_config(os.path.expanduser(base))
        places = (path.parent / name for name in (base, base.replace("\\", "/")))
        return next(filter(os.path.isfile, places), None) or find_config(base)
    except ConfigError as error:
        raise ConfigError(f"config file {path}: its _BASE_ is not known: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with a warning about duplicate keys.

    The last value wins, as in the reference.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key in sorted({each.value for each in repeated_keys(node)}):
            logger.warning("%s: the block '%s' occurs twice; the last one is used", self.name, key)
        return super().construct_mapping(node, deep)


# tuples in files that yacs has written, which the reference's reader of _BASE_ accepts
_Loader.add_constructor(
    "tag:yaml.org,2002:python/tuple", yaml.SafeLoader.yaml_constructors["tag:yaml.org,2002:seq"]
)


def _parse_tree(text: str, name: str) -> dict[str, Any]:
    try:
        tree = parse_yaml(text, name, _Loader)
    except ValueError as error:
        raise ConfigError(f"config file {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config file {name} has no keys")
    if _contains_itself(tree, (), set()):
        raise ConfigError(f"config file {name}: one of its blocks contains itself; correct it")
    return tree


def _contains_itself(node: Any, above: tuple[int, ...], done: set[int]) -> bool:
    """Whether a block or list is, by an alias of YAML, inside of itself."""
    if not isinstance(node, dict | list) or id(node) in done:
        return False
    if id(node) in above:
        return True
    inner = node.values() if isinstance(node, dict) else node
    found = any(_contains_itself(each, (*above, id(node)), done) for each in inner)
    done.add(id(node))
    return found


def _flatten(tree: Mapping[str, Any], name: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full key and the value of each leaf of a nested tree."""
    for part, value in tree.items():
        key = f"{prefix}{part}"
        if is_skipped(key):
            logger.debug("%s: %s has no meaning here and is skipped", name, key)
        elif key in SLOTS:
            parsed = parse_literal(value) if isinstance(value, str) else freeze(value)
            check_value(key, parsed, f" in {name}")
            yield key, parsed
        elif isinstance(value, dict):
            yield from _flatten(value, name, f"{key}.")
        else:
            known_key(key, f" in {name}")
