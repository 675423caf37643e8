"""The settings of a run: the only place that knows the keys of configuration files."""

from centernet2.config.tree import (
    Config,
    ConfigError,
    config_names,
    find_config,
    load_config,
    one_of,
    parse_config,
)

__all__ = [
    "Config",
    "ConfigError",
    "config_names",
    "find_config",
    "load_config",
    "one_of",
    "parse_config",
]
