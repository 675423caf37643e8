"""Config files, and the map from their keys to the fields of option groups."""

from centernet2.config.errors import ConfigError as ConfigError
from centernet2.config.errors import add_keys as add_keys
from centernet2.config.errors import one_of as one_of
from centernet2.config.on_resume import REFUSED as REFUSED
from centernet2.config.reading import config_names as config_names
from centernet2.config.reading import load_config as load_config
from centernet2.config.reading import parse_config as parse_config
from centernet2.config.reference_page import configuration_page as configuration_page
from centernet2.config.tree import CLASS_KEYS as CLASS_KEYS
from centernet2.config.tree import CLASS_MAP_KEY as CLASS_MAP_KEY
from centernet2.config.tree import KEPT_CLASSES_KEY as KEPT_CLASSES_KEY
from centernet2.config.tree import Config as Config
from centernet2.config.tree import Overrides as Overrides
from centernet2.config.tree import parse_pairs as parse_pairs
