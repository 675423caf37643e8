"""The table of what resuming does with each option."""

import pytest

from centernet2.builders.detector.network import build_on_meta
from centernet2.config import Config, load_config
from centernet2.config.ignored import IGNORED_KEYS
from centernet2.config.keys import OPTIONS
from centernet2.config.on_resume import ON_RESUME, REFUSED, keys_of

OBEYED = [key for row in ON_RESUME if row.action == "obeys" for key in keys_of(row)]
CHOICES = {  # other values of options that are no numbers
    "MODEL.CENTERNET.LOC_LOSS_TYPE": "iou",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "giou",
    "MODEL.CENTERNET.SOI": ((0, 10), (5, 20), (10, 40), (20, 80), (40, 1000)),
}


def test_each_option_has_one_statement() -> None:
    stated = [key for row in ON_RESUME for key in keys_of(row)]
    assert sorted(stated) == sorted(option.key for option in OPTIONS)


def test_each_field_is_stated_once_and_exists() -> None:
    fields = [field for row in ON_RESUME for field in row.fields]
    assert len(fields) == len(set(fields))
    known = [option.field for option in OPTIONS]
    assert [f for f in fields if not any(f"{each}.".startswith(f"{f}.") for each in known)] == []


def test_ignored_options_are_those_that_nothing_reads() -> None:
    ignored = {key for row in ON_RESUME if row.action == "ignores" for key in keys_of(row)}
    assert ignored == {option.key for option in IGNORED_KEYS}


def changed(config: Config, key: str) -> object:
    """Return another value for an option of the models."""
    value = config[key]
    if key in CHOICES:
        return CHOICES[key]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 + 0.15


@pytest.mark.parametrize("name", ["CenterNet2_R18_small", "LVIS_CenterNet2_R50_Fed_1x"])
def test_obeyed_options_do_not_change_the_network(name: str) -> None:
    config = load_config(name)
    keys = [key for key in OBEYED if key.startswith("MODEL.") and "IOU_" not in key]
    keys = [k for k in keys if k != "MODEL.DEVICE"]
    assert len(keys) > 30
    other = config.replace({key: changed(config, key) for key in keys})
    assert all(other[key] != config[key] for key in keys)
    before, after = (
        {n: t.shape for n, t in build_on_meta(c).state_dict().items()} for c in (config, other)
    )
    assert before == after


@pytest.mark.parametrize("changes", [
    {"MODEL.RESNETS.DEPTH": 50},
    {"MODEL.FPN.OUT_CHANNELS": 32},
    {"MODEL.CENTERNET.NUM_BOX_CONVS": 2},
    {"MODEL.ROI_BOX_HEAD.FC_DIM": 64},
    {"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True},
    {"MODEL.MASK_ON": True},
    {"MODEL.META_ARCHITECTURE": "CenterNetDetector"},
])  # fmt: skip
def test_options_that_change_the_network_are_refused(changes: dict[str, object]) -> None:
    config = load_config("CenterNet2_R18_small")
    assert set(config.replace(changes).changed_from(config)) <= set(REFUSED)
