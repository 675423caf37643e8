"""The options of config files, of all parts together."""

from centernet2.config.data_keys import DATA_KEYS
from centernet2.config.first_stage_keys import FIRST_STAGE_KEYS
from centernet2.config.ignored import IGNORED_KEYS
from centernet2.config.model_keys import MODEL_KEYS
from centernet2.config.second_stage_keys import SECOND_STAGE_KEYS
from centernet2.config.training_keys import TRAINING_KEYS

OPTIONS = (
    *MODEL_KEYS,
    *FIRST_STAGE_KEYS,
    *SECOND_STAGE_KEYS,
    *DATA_KEYS,
    *TRAINING_KEYS,
    *IGNORED_KEYS,
)
