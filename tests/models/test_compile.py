"""Backbone, neck and the first stage's head are one graph for a compiler."""

import pytest
import torch

import centernet2
from centernet2.models.centernet import HeadOutput
from tests.helpers.networks import FAMILIES, FAMILY_PARAMS, IMAGES, QUICK, Dense


def dense_of(family: str, *, training: bool) -> Dense:
    name, options = FAMILIES[family]
    torch.manual_seed(0)
    return Dense(centernet2.build_model(centernet2.load_config(name, list(options)))).train(
        training
    )


def run_compiled(dense: Dense) -> HeadOutput:
    """Run a second batch through a compiled program, without compiling again."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    program = torch.compile(dense, backend="eager", fullgraph=True)
    program(torch.rand_like(IMAGES))
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    actual: HeadOutput = program(IMAGES)
    assert counters["stats"]["unique_graphs"] == 1  # other pixels, the same program
    return actual


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILY_PARAMS)
def test_one_graph_without_a_break(family: str, training: bool) -> None:
    dense = dense_of(family, training=training)
    with torch.set_grad_enabled(training):
        actual = run_compiled(dense)
        if not training:
            for ours, wanted in zip(actual.ltrb, dense(IMAGES).ltrb, strict=True):
                torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("family", QUICK)
def test_mixed_precision_is_one_graph_too(family: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        actual = run_compiled(dense_of(family, training=True))
    assert {distances.dtype for distances in actual.ltrb} == {torch.float32}
