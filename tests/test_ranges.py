"""Every option with numbers has a range; values outside are refused wherever a config is made."""

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from centernet2.config import ConfigError, load_config, parse_config
from centernet2.config.tree import SLOTS, Config
from centernet2.ranges import Accepted, above, at_least, between


def leaf_types(kind: Any) -> set[Any]:
    """Return the types of the values in a type: {int} of tuple[int, ...]."""
    inner = [each for each in get_args(kind) if each is not Ellipsis]
    return set().union(*map(leaf_types, inner)) if inner else {kind}


NUMERIC = [key for key, slot in SLOTS.items() if {int, float} & leaf_types(slot.type)]
NOT_EMPTY = [key for key, slot in SLOTS.items() if slot.option.accepted.nonempty]


def shaped(key: str, number: float) -> Any:
    """Put a number into the first place of a list as the option takes it; else return it."""

    def put(value: Any) -> Any:
        return (put(value[0]), *value[1:]) if isinstance(value, tuple) else number

    example = SLOTS[key].default
    return put(example if example != () else (1,))


def outside(key: str) -> float:
    """Return a number of the right type that the option does not accept."""
    accepted, kinds = SLOTS[key].option.accepted, leaf_types(SLOTS[key].type)
    if not math.isinf(accepted.low):
        return int(accepted.low) - 3 if int in kinds else accepted.low - 3.0
    return int(accepted.high) + 1 if not math.isinf(accepted.high) else math.inf


@pytest.mark.parametrize("key", NUMERIC)
def test_numeric_option_has_a_range_with_its_default(key: str) -> None:
    slot = SLOTS[key]
    accepted = slot.option.accepted
    if key != "MODEL.PIXEL_MEAN":  # any three finite numbers
        assert not (math.isinf(accepted.low) and math.isinf(accepted.high))
    assert accepted.accepts(slot.default)
    assert Config().replace({key: slot.default})[key] == slot.default


@pytest.mark.parametrize("key", NUMERIC)
def test_value_outside_is_refused_by_key_value_and_range(key: str, tmp_path: Path) -> None:
    value = shaped(key, outside(key))
    text = yaml.safe_dump({key: list(value) if isinstance(value, tuple) else value})
    path = tmp_path / "own.yaml"
    path.write_text(f"_BASE_: CenterNet2_R18_small\n{text}".replace("!!python/tuple", ""))
    for file, make in (
        ("", lambda: Config().replace({key: value})),
        ("", lambda: load_config("CenterNet2_R18_small", {key: value})),
        (f" in {path}", lambda: load_config(path)),
        (" in own", lambda: parse_config(text.replace("!!python/tuple", ""), "own")),
    ):
        with pytest.raises(ConfigError) as error:
            make()
        assert f"{key} is {value!r}{file}; it takes {SLOTS[key].accepted}" == str(error.value)


@pytest.mark.parametrize("key", NUMERIC)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_is_refused(key: str, number: float) -> None:
    if number == SLOTS[key].option.accepted.also:  # the norm of order inf
        number = math.nan
    with pytest.raises(ConfigError, match=f"{key} is .*; it takes"):
        Config().replace({key: shaped(key, number)})


@pytest.mark.parametrize("key", NOT_EMPTY)
def test_empty_list_is_refused_where_one_is_needed(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is \(\); it takes a list of one or more"):
        Config().replace({key: ()})


@pytest.mark.parametrize(("key", "values"), [
    ("MODEL.CENTERNET.IGNORE_HIGH_FP", [-1, 0.0, 0.85]),
    ("MODEL.CENTERNET.HM_FOCAL_ALPHA", [-1.0]),
    ("INPUT.MIN_SIZE_TEST", [0]),
    ("TEST.EVAL_PERIOD", [-1, 0]),
    ("SOLVER.TRAIN_ITER", [-1]),
    ("SOLVER.WEIGHT_DECAY_BIAS", [None, 0.0]),
    ("SOLVER.CLIP_GRADIENTS.NORM_TYPE", [math.inf]),
    ("SOLVER.STEPS", [(), (5, 5)]),
    ("SEED", [-7, 2**63 - 1]),
])  # fmt: skip
def test_special_values_are_accepted(key: str, values: list[Any]) -> None:
    for value in values:
        config = Config().replace({key: value})
        assert config[key] == value
        assert parse_config(config.to_yaml(), "again")[key] == value


@pytest.mark.parametrize(("key", "value"), [
    ("SOLVER.TRAIN_ITER", 0),
    ("SOLVER.STEPS", (20, 10)),
    ("INPUT.SCALE_RANGE", (2.0, 0.1)),
    ("INPUT.SCALE_RANGE", (0.1, 0.5, 2.0)),
    ("MODEL.PIXEL_STD", (1.0, 1.0)),
    ("MODEL.CENTERNET.SOI", ((80.0, 0.0),)),
    ("MODEL.CENTERNET.SOI", ((0.0,),)),
    ("MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", ((1.0, 1.0, 1.0),)),
    ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", (True, False)),
    ("SOLVER.MOMENTUM", 1.0),
    ("SOLVER.BETAS", (0.9, 1.0)),
    ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 30.0),
])  # fmt: skip
def test_wrong_order_or_number_of_values_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{key} is .*; it takes"):
        Config().replace({key: value})


@pytest.mark.parametrize(("accepted", "kind", "text"), [
    (at_least(1), int, "a whole number from 1"),
    (above(0), float, "a number above 0"),
    (between(0, 1), float, "a number from 0 to 1"),
    (between(0, 1, excluded=(1,)), float, "a number from 0 and below 1"),
    (between(0, 1, also=-1), float, "a number from 0 to 1, or -1"),
    (at_least(0), float | None, "None or a number from 0"),
    (Accepted(count=3), tuple[float, ...], "a list of 3 finite numbers"),
    (at_least(1, nonempty=True), tuple[int, ...], "a list of one or more whole numbers from 1"),
    (at_least(0, count=2, ascending=True), tuple[tuple[float, ...], ...],
     "a list of lists of 2 numbers from 0, in ascending order"),
    (Accepted(), str, "text"),
    (Accepted(), bool, "True or False"),
])  # fmt: skip
def test_description(accepted: Accepted, kind: Any, text: str) -> None:
    assert accepted.describe(kind) == text
