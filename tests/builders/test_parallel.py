"""Preparation of a detector for training."""

import torch
from torch import nn

from centernet2.builders.network import build_detector
from centernet2.builders.parallel import prepare_for_training
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
