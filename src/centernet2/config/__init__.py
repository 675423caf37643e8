"""Config files, and the map from their keys to the fields of option groups."""

from centernet2.config.errors import ConfigError, add_keys, one_of
from centernet2.config.on_resume import REFUSED
from centernet2.config.reading import config_names, find_config, load_config, parse_config
from centernet2.config.reference_page import configuration_page
from centernet2.config.tree import (
    CLASS_KEYS,
    CLASS_MAP_KEY,
    KEPT_CLASSES_KEY,
    Config,
    Overrides,
    parse_pairs,
)

__all__ = [
    "CLASS_KEYS",
    "CLASS_MAP_KEY",
    "KEPT_CLASSES_KEY",
    "REFUSED",
    "Config",
    "ConfigError",
    "Overrides",
    "add_keys",
    "config_names",
    "configuration_page",
    "find_config",
    "load_config",
    "one_of",
    "parse_config",
    "parse_pairs",
]
