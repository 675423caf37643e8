"""Small detectors with images and targets, and a network of each family."""

import pytest
import torch
from torch import Tensor, nn

import centernet2
from centernet2.models.centernet import HeadOutput
from centernet2.models.detector import Detector
from centernet2.structures import Target

R18 = ("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64")
R50 = ("MODEL.RESNETS.DEPTH", "50")
SMALL = [
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN", "40",
    "INPUT.FORMAT", "RGB",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0001", "MODEL.CENTERNET.INFERENCE_TH", "0.0001",
    "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "20", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
]  # fmt: skip
RANDOM_LITE = ("CenterNet2_Lite_N", ("MODEL.TIMM.PRETRAINED", "False"))
# the scores of many untrained classes differ by less than rounding, which would order detections
FEW_CLASSES = ("MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3")
MODELS = {
    "two-stage": ("CenterNet2_R18_small", ()),
    "masks": ("CenterNet2_R18_small", ("MODEL.MASK_ON", "True")),
    "one-stage": ("CenterNet-FPN_R50_1x", R18),
    "deformable": ("CenterNet-S4_DLA_8x", ()),
    "bifpn": ("CenterNet2_DLA-BiFPN-P3_4x", FEW_CLASSES),
    "lite": (RANDOM_LITE[0], (*RANDOM_LITE[1], *FEW_CLASSES)),
}
TIMM = ("MODEL.BACKBONE.NAME", "timm", "MODEL.TIMM.NAME")
FAMILIES = {
    "ResNet-FPN": ("CenterNet2_R50_1x", R18),
    "one-stage": ("CenterNet-FPN_R50_1x", R18),
    "deformable towers": ("CenterNet2_R50_1x", (*R18, "MODEL.CENTERNET.USE_DEFORMABLE", "True")),
    "small": ("CenterNet2_R18_small", ()),
    "DLA34+DLAUp": ("CenterNet-S4_DLA_8x", ()),
    "DLA34+DLAUp of two stages": ("nuImages_CenterNet2_DLA_640_8x", ()),
    "DLA34-BiFPN": ("CenterNet2_DLA-BiFPN-P3_4x", ()),
    "DLA34-BiFPN, shared laterals": ("CenterNet2_DLA-fcosBiFPN-P5_640_16x_ST", ()),
    "Res2Net-DCN-BiFPN": ("CenterNet2_R2-101-DCN-BiFPN_1280_4x", R50),
    "ResNeXt-DCN": ("CenterNet2_X101-DCN_2x", R50),
    "Lite": RANDOM_LITE,
    "timm, convolutions": ("CenterNet2_R50_1x", (*TIMM, "convnext_atto")),
    "timm, attention": ("CenterNet2_R50_1x", (*TIMM, "swin_tiny_patch4_window7_224")),
}
QUICK = ("ResNet-FPN", "deformable towers", "small", "DLA34+DLAUp")
FAMILY_PARAMS = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAMILIES]
IMAGES = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).to(
    memory_format=torch.channels_last
)


def scene() -> tuple[list[Tensor], list[Target]]:
    """Two images of different sizes, with two objects each."""
    random = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 255, (3, h, w), dtype=torch.uint8, generator=random)
        for h, w in ((64, 96), (90, 60))
    ]
    targets: list[Target] = []
    for image in images:
        boxes = torch.tensor([[4.0, 6, 40, 50], [20, 10, 55, 60]])
        masks = torch.zeros(2, *image.shape[1:], dtype=torch.bool)
        masks[:, 10:50, 20:40] = True
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 0]), "masks": masks})
    return images, targets


def build(kind: str) -> Detector:
    """An untrained small detector of `MODELS`, with seeded weights."""
    name, options = MODELS[kind]
    torch.manual_seed(0)
    return centernet2.build_model(centernet2.load_config(name, [*SMALL, *options]))


class Dense(nn.Module):
    """Backbone, neck and the first stage's head."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.backbone, self.neck, self.stage = model.backbone, model.neck, model.proposal_generator

    def forward(self, x: Tensor) -> HeadOutput:  # [N, 3, H, W]
        features = self.neck(self.backbone(x))
        output: HeadOutput = self.stage.head(self.stage.levels(features))
        return output
