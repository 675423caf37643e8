"""From a configuration file and overrides to typed settings, and back."""

import ast
import difflib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, ValidationError

from centernet2.config import data_keys as d
from centernet2.config import model_keys as m
from centernet2.config import training_keys as t
from centernet2.config.option import SKIPPED_KEYS, Group

logger = logging.getLogger(__name__)
Choice = TypeVar("Choice", bound=str)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says which key or file and what to do."""


def one_of(value: str, known: Sequence[Choice], key: str) -> Choice:
    """The value of an option that takes one of a few.

    Raises:
        ConfigError: it takes none such.
    """
    for choice in known:
        if choice == value:
            return choice
    raise ConfigError(f"{key} is '{value}'; choose one of {', '.join(known)}")


class Config(Group):
    """All settings of one run, in groups."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "config"
    stated: frozenset[str] = Field(
        frozenset(), description="keys that a file or an override has set"
    )
    model: m.ModelOptions = m.ModelOptions()
    preprocess: m.PreprocessOptions = m.PreprocessOptions()
    resnet: m.ResNetOptions = m.ResNetOptions()
    deform: m.DeformOptions = m.DeformOptions()
    dla: m.DLAOptions = m.DLAOptions()
    timm: m.TimmOptions = m.TimmOptions()
    fpn: m.FPNOptions = m.FPNOptions()
    bifpn: m.BiFPNOptions = m.BiFPNOptions()
    centernet_head: m.CenterNetHeadOptions = m.CenterNetHeadOptions()
    centernet: m.CenterNetOptions = m.CenterNetOptions()
    roi_heads: m.RoIHeadsOptions = m.RoIHeadsOptions()
    cascade: m.CascadeOptions = m.CascadeOptions()
    one_stage: m.OneStageOptions = m.OneStageOptions()
    box_head: m.BoxHeadOptions = m.BoxHeadOptions()
    box_predictor: m.BoxPredictorOptions = m.BoxPredictorOptions()
    box_pooler: m.BoxPoolerOptions = m.BoxPoolerOptions()
    mask_head: m.MaskHeadOptions = m.MaskHeadOptions()
    mask_pooler: m.MaskPoolerOptions = m.MaskPoolerOptions()
    datasets: d.DatasetsOptions = d.DatasetsOptions()
    augmentation: d.AugmentationOptions = d.AugmentationOptions()
    loader: d.LoaderOptions = d.LoaderOptions()
    optimizer: t.OptimizerOptions = t.OptimizerOptions()
    schedule: t.ScheduleOptions = t.ScheduleOptions()
    clip: t.ClipOptions = t.ClipOptions()
    ema: t.EMAOptions = t.EMAOptions()
    run: t.RunOptions = t.RunOptions()
    test_augmentation: d.TestAugmentationOptions = d.TestAugmentationOptions()

    def __getitem__(self, key: str) -> Any:
        """The value of one key, for example config["SOLVER.BASE_LR"]."""
        group, field = KEYS[_known(key)]
        return getattr(getattr(self, group), field)

    def replace(self, values: Mapping[str, Any]) -> "Config":
        """These settings with other values for some keys."""
        return _make_config(
            self.name, {key: self[key] for key in KEYS} | dict(values), self.stated | set(values)
        )

    def override(self, pairs: Sequence[str]) -> "Config":
        """These settings with keys and values in turn on top, as `load_config` takes them."""
        return self.replace(_parse_pairs(pairs)) if pairs else self

    def changed_from(self, other: "Config") -> list[str]:
        """Keys whose values differ from those of other settings."""
        return [key for key in sorted(KEYS) if self[key] != other[key]]

    def to_dict(self) -> dict[str, Any]:
        """The whole tree by the keys of configuration files, in plain lists and dictionaries."""
        tree: dict[str, Any] = {}
        for key in sorted(KEYS):
            *parents, leaf = key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = _plain(self[key])
        return tree

    def to_yaml(self) -> str:
        """The whole tree as a configuration file that `load_config` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=True)


def _find_keys() -> dict[str, tuple[str, str]]:
    keys = {}
    for group, info in Config.model_fields.items():
        if isinstance(info.default, Group):
            for field, option in type(info.default).model_fields.items():
                extra = option.json_schema_extra
                keys[str(extra["key"])] = (group, field)  # type: ignore[index]
    return keys


KEYS = _find_keys()  # key of a configuration file -> (group, field)


def load_config(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration file, with its base files below it and overrides on top.

    Args:
        source: path of a YAML file, or the name of a packaged one such as "CenterNet2_R50_1x".
        overrides: keys and values in turn: ["SOLVER.BASE_LR", "0.01", ...]; values are Python literals or strings.

    Raises:
        ConfigError: an unknown name or key, a value of the wrong type, a key without a value.
    """
    path = find_config(source)
    values = _read_tree(path)
    values |= _parse_pairs(overrides)
    return _make_config(path.stem, values, set(values))


def _parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    if len(pairs) % 2:
        raise ConfigError(f"options come in pairs 'KEY VALUE', but '{pairs[-1]}' has no value")
    values = {}
    for key, text in zip(pairs[::2], pairs[1::2], strict=True):
        if _is_skipped(key):
            logger.info("option %s has no meaning here and is ignored", key)
        else:
            values[_known(key)] = _literal(text)
    return values


def parse_config(text: str, name: str) -> Config:
    """Settings from the text of a configuration file without base files, as a checkpoint carries it."""
    values = dict(_flatten(_parse_yaml(text, name), name))
    return _make_config(name, values, set(values))


def config_names() -> list[str]:
    """Names of the packaged configurations."""
    folder = resources.files("centernet2") / "configs"
    return sorted(
        f.name[:-5]
        for f in folder.iterdir()
        if f.name.endswith(".yaml") and not f.name.startswith("Base")
    )


def find_config(source: str | os.PathLike[str]) -> Path:
    """Path of a configuration file, or of the packaged one of that name."""
    path = Path(source)
    if path.is_file():
        return path
    packaged = (
        Path(str(resources.files("centernet2")))
        / "configs"
        / f"{path.name.removesuffix('.yaml')}.yaml"
    )
    if packaged.is_file():
        return packaged
    hint = _suggest(path.name.removesuffix(".yaml"), config_names())
    raise ConfigError(
        f"there is no configuration file '{source}' and no packaged configuration of that name{hint}"
    )


def _read_tree(path: Path) -> dict[str, Any]:
    """Keys and values of a file, over those of its _BASE_."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error}") from None
    tree = _parse_yaml(text, str(path))
    base = tree.pop("_BASE_", None)
    values: dict[str, Any] = {}
    if base is not None:
        base_path = path.parent / str(base)
        values = _read_tree(base_path if base_path.is_file() else find_config(str(base)))
    return values | dict(_flatten(tree, str(path)))


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that says when a key stands twice; the last one wins, as in the reference."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in sorted({k for k in keys if keys.count(k) > 1}):
            logger.warning(
                "%s: the block '%s' stands twice; the last one counts", node.start_mark.name, key
            )
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, name: str) -> dict[str, Any]:
    try:
        loader = _Loader(text)
        loader.name = name
        tree = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(
            f"configuration file {name} is not valid YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(f"configuration file {name} holds no keys")
    return tree


def _flatten(tree: Mapping[str, Any], name: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for part, value in tree.items():
        key = f"{prefix}{part}"
        if _is_skipped(key):
            logger.debug("%s: %s has no meaning here and is skipped", name, key)
        elif key in KEYS:
            yield key, _literal(value) if isinstance(value, str) else _frozen(value)
        elif isinstance(value, dict):
            yield from _flatten(value, name, f"{key}.")
        else:
            _known(key, f" in {name}")


def _make_config(name: str, values: Mapping[str, Any], stated: set[str] | frozenset[str]) -> Config:
    groups: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        group, field = KEYS[_known(key)]
        groups.setdefault(group, {})[field] = _frozen(value)
    try:
        return Config(name=name, stated=frozenset(stated), **groups)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(str(part) for part in first["loc"])
        key = next(k for k, path in KEYS.items() if path == location[:2])
        raise ConfigError(f"{key} is {first['input']!r}: {first['msg'].lower()}") from None


def _known(key: str, where: str = "") -> str:
    if key not in KEYS:
        raise ConfigError(f"there is no option '{key}'{where}{_suggest(key, list(KEYS))}")
    return key


def _suggest(word: str, known: Sequence[str]) -> str:
    if word.startswith("--"):  # a misspelt option of the command line arrives among the keys
        return "; --help lists the command's options"
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1)
    return f"; did you mean '{lower[close[0]]}'?" if close else ""


def _is_skipped(key: str) -> bool:
    return any(key == skipped or key.startswith(f"{skipped}.") for skipped in SKIPPED_KEYS)


def _literal(text: str) -> Any:
    """The Python value that a text stands for, the text itself where it stands for none."""
    try:
        return _frozen(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "null": None}.get(text.lower(), text)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
