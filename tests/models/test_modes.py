"""Training and evaluation mode of models."""

import gc
import weakref

import pytest
from torch import nn

from centernet2.models.modes import evaluation_mode


def test_modes_are_restored() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(2).eval())  # the second part is frozen
    with pytest.raises(KeyError), evaluation_mode(model), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False]


def test_a_block_that_ends_leaves_the_mode_of_another_one() -> None:
    model = nn.Sequential(nn.Dropout())
    first, second = evaluation_mode(model), evaluation_mode(model)  # of two threads
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not model[0].training
    second.__exit__(None, None, None)
    assert model[0].training


def test_models_are_freed_after_the_block() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with evaluation_mode(model):
        pass
    assert model.training
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
