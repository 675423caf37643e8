"""Preparation of a detector for training."""

import pytest
import torch
from torch import nn

from centernet2.builders.detector.network import build_detector
from centernet2.builders.training.parallel import may_have_unused_parameters, prepare_for_training
from centernet2.config import load_config
from centernet2.devices import create_accelerator
from tests.helpers.networks import TIMM


def test_synchronized_norms_keep_their_activations() -> None:
    """Some networks of timm join normalization and activation in one layer."""
    options = (
        *TIMM, "mobilenetv3_small_050", "MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0",
        "SOLVER.SYNC_BN", "True",
    )  # fmt: skip
    config = load_config("CenterNet2_R18_small", options)
    model, x = build_detector(config), torch.rand(1, 3, 64, 64)
    expected = model.eval().backbone(x)
    prepare_for_training(config, model.train(), create_accelerator(torch.device("cpu")))
    kinds = [nn.SyncBatchNorm, nn.BatchNorm2d]
    counts = [sum(isinstance(layer, kind) for layer in model.modules()) for kind in kinds]
    assert counts[0] and not counts[1]
    for name, found in model.eval().backbone(x).items():
        torch.testing.assert_close(found, expected[name])


FOUR_LEVELS = {
    "MODEL.CENTERNET.IN_FEATURES": "[p3, p4, p5, p6]",
    "MODEL.CENTERNET.FPN_STRIDES": [8, 16, 32, 64],
    "MODEL.CENTERNET.SOI": [[0, 32], [24, 64], [48, 128], [96, 10000000]],
}


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("CenterNet2_R18_small", {}, False),
    ("CenterNet2_R18_small", FOUR_LEVELS, False),  # the second stage pools from p7
    ("CenterNet-FPN_R50_1x", {}, False),
    ("CenterNet-FPN_R50_1x", FOUR_LEVELS, True),
    ("CenterNet2_DLA-BiFPN-P3_4x", {}, False),
])  # fmt: skip
def test_levels_that_no_stage_uses_have_unused_parameters(
    name: str, options: dict[str, object], expected: bool
) -> None:
    """Several processes fail in the second step unless they look for these parameters."""
    assert may_have_unused_parameters(load_config(name, options)) is expected
