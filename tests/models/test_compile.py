"""Backbone, neck and the first stage's head are one graph for a compiler."""

import pytest
import torch
from torch import Tensor, nn

import centernet2
from centernet2.models.centernet import HeadOutput
from centernet2.models.detector import Detector

TIMM = ("MODEL.BACKBONE.NAME", "timm", "MODEL.TIMM.NAME")
R18 = ("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64")
FAMILIES = {
    "ResNet-FPN": ("CenterNet2_R50_1x", R18),
    "one-stage": ("CenterNet-FPN_R50_1x", R18),
    "deformable towers": (
        "CenterNet2_R50_1x",
        (
            "MODEL.RESNETS.DEPTH",
            "18",
            "MODEL.RESNETS.RES2_OUT_CHANNELS",
            "64",
            "MODEL.CENTERNET.USE_DEFORMABLE",
            "True",
        ),
    ),
    "small": ("CenterNet2_R18_small", ()),
    "DLA34+DLAUp": ("CenterNet-S4_DLA_8x", ()),
    "DLA34+DLAUp of two stages": ("nuImages_CenterNet2_DLA_640_8x", ()),
    "DLA34-BiFPN": ("CenterNet2_DLA-BiFPN-P3_4x", ()),
    "DLA34-BiFPN, shared laterals": ("CenterNet2_DLA-fcosBiFPN-P5_640_16x_ST", ()),
    "Res2Net-DCN-BiFPN": ("CenterNet2_R2-101-DCN-BiFPN_1280_4x", ()),
    "ResNeXt-DCN": ("CenterNet2_X101-DCN_2x", ()),
    "timm, convolutions": ("CenterNet2_R50_1x", (*TIMM, "convnext_atto")),
    "timm, attention": ("CenterNet2_R50_1x", (*TIMM, "swin_tiny_patch4_window7_224")),
}
QUICK = ("ResNet-FPN", "deformable towers", "small", "DLA34+DLAUp")
KINDS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAMILIES]
IMAGES = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).to(
    memory_format=torch.channels_last
)


class Dense(nn.Module):
    """Backbone, neck and the first stage's head."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.backbone, self.neck, self.stage = model.backbone, model.neck, model.proposal_generator

    def forward(self, x: Tensor) -> HeadOutput:  # [N, 3, H, W]
        features = self.neck(self.backbone(x))
        output: HeadOutput = self.stage.head(self.stage.levels(features))
        return output


def dense_of(family: str, *, training: bool) -> Dense:
    name, options = FAMILIES[family]
    torch.manual_seed(0)
    return Dense(centernet2.build_model(centernet2.load_config(name, list(options)))).train(
        training
    )


def run_compiled(dense: Dense) -> HeadOutput:
    """The output of a program for a second batch, for which it must not be compiled again."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    program = torch.compile(dense, backend="eager", fullgraph=True)
    program(torch.rand_like(IMAGES))
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    found: HeadOutput = program(IMAGES)
    assert counters["stats"]["unique_graphs"] == 1  # other pixels, the same program
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", KINDS)
def test_one_graph_without_a_break(family: str, training: bool) -> None:
    dense = dense_of(family, training=training)
    with torch.set_grad_enabled(training):
        found = run_compiled(dense)
        if not training:
            for ours, wanted in zip(found.ltrb, dense(IMAGES).ltrb, strict=True):
                torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("family", QUICK)
def test_mixed_precision_is_one_graph_too(family: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = run_compiled(dense_of(family, training=True))
    assert {distances.dtype for distances in found.ltrb} == {torch.float32}
