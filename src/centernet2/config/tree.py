"""The config: typed, frozen groups of options, accessed by field or by key."""

import ast
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache, reduce
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import torch
import yaml

from centernet2.config.errors import ConfigError, nearest_option
from centernet2.config.ignored import IGNORED_KEYS, WITHOUT_MESSAGE, IgnoredOptions
from centernet2.config.keys import OPTIONS
from centernet2.config.option import SKIPPED_KEYS, Option
from centernet2.config.parts import CascadeOptions, ModelOptions, OneStageOptions
from centernet2.data import AugmentationOptions, DatasetsOptions, LoaderOptions
from centernet2.models.backbones import BackboneOptions
from centernet2.models.centernet import (
    AssignerOptions,
    CenterNetOptions,
    CriterionOptions,
    DecoderOptions,
    HeadOptions,
)
from centernet2.models.necks import NeckOptions
from centernet2.models.preprocess import PreprocessOptions
from centernet2.models.roi_heads import (
    BoxHeadOptions,
    BoxStageOptions,
    FederatedOptions,
    MaskHeadOptions,
    PoolerOptions,
    RoIHeadsOptions,
    SamplerOptions,
    SelectionOptions,
)
from centernet2.models.tta import TestAugmentationOptions
from centernet2.training.ema import EMAOptions
from centernet2.training.optim import ClipOptions, OptimizerOptions
from centernet2.training.run_options import RunOptions
from centernet2.training.schedule import ScheduleOptions

logger = logging.getLogger(__name__)
Values = Mapping[str, Any]  # values of options by key
Overrides = Mapping[str, Any] | Sequence[Any]  # by key, or alternating keys and values
SHOWN_LENGTH = 200  # of a value in a message
# errors of parsers on texts of any kind: no keys of dictionaries, nested too deeply
UNPARSED = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
CLASS_MAP_KEY = "DATASETS.CLASS_MAP"  # its value may also be a dictionary
PATH_KEYS = ("MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH", "MODEL.WEIGHTS", "OUTPUT_DIR")
KEPT_CLASSES_KEY = "DATASETS.KEPT_CLASSES"
CLASS_KEYS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.CENTERNET.NUM_CLASSES")


@dataclass(frozen=True)
class Config:
    """All options, in groups."""

    name: str = "config"
    stated: frozenset[str] = frozenset()  # keys that a file, an override or `replace` has set
    model: ModelOptions = field(default_factory=ModelOptions)
    preprocess: PreprocessOptions = field(default_factory=PreprocessOptions)
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    neck: NeckOptions = field(default_factory=NeckOptions)
    head: HeadOptions = field(default_factory=HeadOptions)
    centernet: CenterNetOptions = field(default_factory=CenterNetOptions)
    assigner: AssignerOptions = field(default_factory=AssignerOptions)
    criterion: CriterionOptions = field(default_factory=CriterionOptions)
    decoder: DecoderOptions = field(default_factory=DecoderOptions)
    roi_heads: RoIHeadsOptions = field(default_factory=RoIHeadsOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    box_stage: BoxStageOptions = field(default_factory=BoxStageOptions)
    federated: FederatedOptions = field(default_factory=FederatedOptions)
    cascade: CascadeOptions = field(default_factory=CascadeOptions)
    one_stage: OneStageOptions = field(default_factory=OneStageOptions)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    box_head: BoxHeadOptions = field(default_factory=BoxHeadOptions)
    box_pooler: PoolerOptions = field(default_factory=PoolerOptions)
    mask_head: MaskHeadOptions = field(default_factory=MaskHeadOptions)
    mask_pooler: PoolerOptions = field(default_factory=PoolerOptions)
    datasets: DatasetsOptions = field(default_factory=DatasetsOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    clip: ClipOptions = field(default_factory=ClipOptions)
    ema: EMAOptions = field(default_factory=EMAOptions)
    run: RunOptions = field(default_factory=RunOptions)
    test_augmentation: TestAugmentationOptions = field(default_factory=TestAugmentationOptions)
    ignored: IgnoredOptions = field(default_factory=IgnoredOptions)

    def __getitem__(self, key: str) -> Any:
        """Return the value of a key, as in config["SOLVER.BASE_LR"]."""
        slot = SLOTS[known_key(key)]
        value = reduce(getattr, slot.path, self)
        return not value if slot.option.inverted else value

    def replace(self, values: Values) -> "Config":
        """Return a copy with new values for some keys."""
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"`replace` takes a dictionary of values by key, not a {type(values).__name__}; "
                "`override` takes lists, too"
            )
        return make_config(self.name, values, base=self)

    def override(self, overrides: "Overrides") -> "Config":
        """Return a copy with overrides applied, in the form that `load_config` takes."""
        return self.replace(values) if (values := parse_pairs(overrides)) else self

    def changed_from(self, other: "Config") -> list[str]:
        """Return the keys whose values differ between two configs."""
        return [key for key in sorted(SLOTS) if self[key] != other[key]]

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as nested dictionaries and lists."""
        tree: dict[str, Any] = {}
        for key in sorted(SLOTS):
            *parents, leaf = key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = with_lists(self[key])
        return tree

    def to_yaml(self) -> str:
        """Return the tree as text that `load_config` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=True)


class Slot(NamedTuple):
    """Position, type and default of an option in a Config."""

    option: Option
    path: tuple[str, ...]
    type: Any
    default: Any  # of the key: negated where the field is inverted

    @property
    def accepted(self) -> str:
        """Describe the accepted values."""
        return self.option.accepted.describe(self.type)


def _find_slot(option: Option, defaults: Config) -> Slot:
    path = tuple(option.field.split("."))
    kind: Any = Config
    for name in path:
        kind = _field_types(kind)[name]
    default = reduce(getattr, path, defaults)
    return Slot(option, path, kind, not default if option.inverted else default)


_field_types = cache(get_type_hints)
_defaults = Config()
SLOTS = {option.key: _find_slot(option, _defaults) for option in OPTIONS}


def make_config(name: str, values: Values, base: Config) -> Config:
    """Return the base with new values for some keys, which count as stated."""
    checked = {SLOTS[known_key(key)].path: check_value(key, value) for key, value in values.items()}
    for option in IGNORED_KEYS:
        accepted = WITHOUT_MESSAGE.get(option.key, (SLOTS[option.key].default,))
        if option.key in values and values[option.key] not in accepted:
            _report_ignored(option, str(values[option.key]))
    config: Config = _replace(base, checked)
    return replace(config, name=name, stated=base.stated | values.keys())


@cache  # logged once per value
def _report_ignored(option: Option, value: str) -> None:
    logger.warning("%s '%s' is %s", option.key, value, option.meaning)


def _replace(group: Any, values: Mapping[tuple[str, ...], Any]) -> Any:
    """Return a copy of a group with new values at some paths below it."""
    changes: dict[str, Any] = {path[0]: value for path, value in values.items() if len(path) == 1}
    for name in {path[0] for path in values if len(path) > 1}:
        below = {path[1:]: v for path, v in values.items() if len(path) > 1 and path[0] == name}
        changes[name] = _replace(getattr(group, name), below)
    return replace(group, **changes)


def check_value(key: str, value: Any, where: str = "") -> Any:
    """Return the value for a key's field; ConfigError if the key does not accept it."""
    slot, given = SLOTS[key], freeze(value)
    if key in PATH_KEYS and isinstance(given, str) and given.startswith("~/"):
        given = os.path.expanduser(given)
    if key == CLASS_MAP_KEY and isinstance(given, Mapping):
        given = tuple(f"{old}={new}" for old, new in given.items())
    with suppress(TypeError, OverflowError):
        checked = _of_type(slot.type, given)
        if slot.option.accepted.accepts(checked):
            return not checked if slot.option.inverted else checked
    raise ConfigError(f"{key} is {_shown(given)}{where}; it takes {slot.accepted}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def _of_type(kind: Any, value: Any) -> Any:
    """Return an option's value, whole numbers in its type; else TypeError."""
    if get_origin(kind) is tuple and isinstance(value, tuple):
        return tuple(_of_type(get_args(kind)[0], each) for each in value)
    kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    if type(value) in kinds:
        return value
    if float in kinds and type(value) is int:
        return float(value)
    if int in kinds and type(value) is float and value.is_integer():  # such as 1e4
        return int(value)
    raise TypeError


def parse_pairs(overrides: Overrides) -> dict[str, Any]:
    """Parse overrides by key; a text is a Python literal or stays a string."""
    values = {}
    for key, value in _pairs(overrides):
        if is_skipped(key):
            logger.info("option %s has no meaning here and is ignored", key)
        else:
            parsed = parse_literal(value) if isinstance(value, str) else freeze(value)
            is_text = SLOTS[known_key(key)].type is str and isinstance(parsed, int | float)
            values[key] = value if is_text else parsed  # such as a folder 007
    return values


def _pairs(overrides: Overrides) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a dictionary, or of a list that may contain some."""
    if isinstance(overrides, Mapping):
        yield from _leaves(overrides, "")
        return
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        raise ConfigError(
            f"overrides are a list of keys and values or a dictionary, not {overrides!r}"
        )
    items = iter(overrides)
    for key in items:
        if isinstance(key, Mapping | list | tuple):
            yield from _pairs(key)
        elif not isinstance(key, str):
            raise ConfigError(f"overrides are pairs 'KEY VALUE', but {key!r} is no key")
        else:
            try:
                yield key, next(items)
            except StopIteration:
                raise ConfigError(
                    f"overrides are pairs 'KEY VALUE', but '{key}' has no value"
                ) from None


def _leaves(tree: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield full keys and values of a dictionary, nested like a config file or not."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in SLOTS:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def known_key(key: str, where: str = "") -> str:
    """Return the key; an unknown one raises ConfigError with the nearest key."""
    if key in SLOTS:
        return key
    if any(other.startswith(f"{key}.") for other in SLOTS):
        raise ConfigError(f"'{key}'{where} is a group of options, such as {_first_below(key)}")
    hint = nearest_option(str(key), list(SLOTS))
    raise ConfigError(f"there is no option '{key}'{where}{hint}")


def _first_below(group: str) -> str:
    return next(key for key in sorted(SLOTS) if key.startswith(f"{group}."))


def is_skipped(key: str) -> bool:
    """Whether a key of the reference has no meaning here."""
    return any(key == skipped or key.startswith(f"{skipped}.") for skipped in SKIPPED_KEYS)


def parse_literal(text: str) -> Any:
    """Parse a text as a Python literal or YAML list; return other texts unchanged."""
    try:
        return freeze(ast.literal_eval(text))
    except UNPARSED:
        if text.startswith("[") and text.endswith("]"):
            return _parse_list(text)
        return {"true": True, "false": False, "null": None}.get(text.lower(), text)


def _parse_list(text: str) -> Any:
    """Parse a list as configs have them, [p3, p4]; return other texts unchanged."""
    try:
        return freeze(yaml.safe_load(text))
    except (yaml.YAMLError, *UNPARSED):
        return text


def freeze(value: Any) -> Any:
    """Return the value with tuples in place of lists, and Python's numbers and texts."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.device):
        return str(value)
    if hasattr(value, "tolist"):  # of numpy or torch
        value = value.tolist()
    return tuple(freeze(v) for v in value) if isinstance(value, list | tuple | range) else value


def with_lists(value: Any) -> Any:
    """Return the value with lists in place of tuples, as YAML and JSON have them."""
    if isinstance(value, Mapping):
        return {key: with_lists(each) for key, each in value.items()}
    return [with_lists(each) for each in value] if isinstance(value, tuple) else value


def groups() -> list[tuple[str, Any]]:
    """Return the names of the groups of options and their defaults."""
    config = Config()
    named = [(f.name, getattr(config, f.name)) for f in fields(Config)]
    return [(name, group) for name, group in named if name not in ("name", "stated")]
