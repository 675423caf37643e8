"""Transforms that are built from a config."""

import pytest

from centernet2.builders.data.data_pipeline import SCALE_JITTERS, build_train_transform
from centernet2.config import Config, ConfigError
from centernet2.data import RandomFlip


@pytest.mark.parametrize("augmentation", ["", *SCALE_JITTERS])
@pytest.mark.parametrize("direction", ["horizontal", "vertical", "none"])
def test_flip_is_the_chosen_one(augmentation: str, direction: str) -> None:
    config = Config().replace({"INPUT.CUSTOM_AUG": augmentation, "INPUT.RANDOM_FLIP": direction})
    flips = [each for each in build_train_transform(config).steps if isinstance(each, RandomFlip)]
    assert flips == ([] if direction == "none" else [RandomFlip(direction=direction)])


@pytest.mark.parametrize(("key", "words"), [
    ("INPUT.RANDOM_FLIP", "horizontal, vertical, none"),
    ("INPUT.CUSTOM_AUG", "'', ResizeShortestEdge, EfficientDetResizeCrop, LargeScaleJitter"),
])  # fmt: skip
def test_all_choices_are_named(key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is 'x'; choose one of {words}$"):
        build_train_transform(Config().replace({key: "x"}))
