"""Networks of timm as backbones: feature maps, gradients, frozen stages, errors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import centernet2
from centernet2.builders.detector.initial_weights import fit_to_weights, read_timm_weights
from centernet2.builders.detector.loading import load_model
from centernet2.builders.detector.network import build_detector
from centernet2.checkpoint import Checkpoint, WeightsFile, save_checkpoint
from centernet2.config import ConfigError
from centernet2.models.backbones.backbone import Backbone, any_size_options
from centernet2.models.detector import Detector

SMALL = [
    "MODEL.BACKBONE.NAME", "timm", "MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.RESNETS.NORM", "BN",
    "MODEL.FPN.OUT_CHANNELS", "64", "MODEL.BIFPN.OUT_CHANNELS", "64", "MODEL.BIFPN.NUM_BIFPN", "1",
    "MODEL.BIFPN.NORM", "BN", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.ROI_HEADS.NUM_CLASSES", "3",
]  # fmt: skip
FAMILIES = [
    "resnet18", "convnext_atto", "efficientnet_lite0", "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "swin_tiny_patch4_window7_224", "pvt_v2_b0", "regnetx_002",
]  # fmt: skip
NECKS = {
    "fpn, p3 to p7": (["MODEL.TIMM.NECK", "fpn"], "p7"),
    "fpn, p3 to p5": (
        [
            "MODEL.TIMM.NECK", "fpn", "MODEL.CENTERNET.IN_FEATURES", "['p3','p4','p5']",
            "MODEL.ROI_HEADS.IN_FEATURES", "['p3','p4','p5']",
            "MODEL.CENTERNET.FPN_STRIDES", "[8,16,32]",
            "MODEL.CENTERNET.SOI", "[[0,80],[64,160],[128,10000000]]",
        ],
        "p5",
    ),
    "bifpn": (["MODEL.TIMM.NECK", "bifpn"], "p7"),
    "fcos_bifpn": (["MODEL.TIMM.NECK", "fcos_bifpn"], "p7"),
}  # fmt: skip


def detector(name: str, *options: str) -> Detector:
    overrides = [*SMALL, "MODEL.TIMM.NAME", name, *options]
    return centernet2.build_model(centernet2.load_config("CenterNet2_R50_1x", overrides))


def step(model: Detector) -> None:
    """Train for a step on an image that is no multiple of any stride.

    Every trained parameter gets a gradient.
    """
    targets = [{"boxes": torch.tensor([[5.0, 8.0, 60.0, 50.0]]), "labels": torch.tensor([1])}] * 2
    losses = model.train()([torch.randint(0, 256, (3, 70, 101), dtype=torch.uint8)] * 2, targets)
    sum(losses.values()).backward()
    trained = {n: p for n, p in model.backbone.named_parameters() if p.requires_grad}
    assert not [name for name, parameter in trained.items() if parameter.grad is None]
    model.eval()
    with torch.no_grad():
        (detections,) = model([torch.zeros(3, 64, 96, dtype=torch.uint8)])
    assert set(detections) >= {"boxes", "scores", "labels"}


@pytest.mark.parametrize("name", FAMILIES)
def test_family_trains_and_detects(name: str) -> None:
    model = detector(name)
    assert model.backbone.strides == {"res3": 8, "res4": 16, "res5": 32}
    step(model)


def test_network_that_pads_feature_maps_trains() -> None:
    """It pads them to even sizes."""
    model = detector("mobilevitv2_050")
    assert model.preprocess.size_divisibility == 64
    step(model)


def test_network_with_normalized_single_pixels_is_accepted() -> None:
    """In training mode, its batch normalization refuses a batch of one image."""
    assert any_size_options("skresnet18") == {}


@pytest.mark.parametrize("neck", NECKS)
def test_neck_of_timm_trains_and_detects(neck: str) -> None:
    options, last = NECKS[neck]
    model = detector("mobilenetv3_small_050", *options)
    assert list(model.neck.strides)[-1] == last
    step(model)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_feature_maps_equal_those_of_timm(name: str, tmp_path: Path) -> None:
    options = {"strict_img_size": False} if name.startswith("swin") else {}
    network = timm.create_model(name, **options).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    config = centernet2.load_config("CenterNet2_R50_1x", [*SMALL, "MODEL.TIMM.NAME", name])
    model = centernet2.build_model(config, weights=tmp_path / "w.pth").eval()
    image = torch.randn(1, 3, 64, 96)
    expected = network.forward_intermediates(image, intermediates_only=True)
    by_height = {x.shape[2]: x for x in expected}
    for x in model.backbone(image).values():
        torch.testing.assert_close(x, by_height[x.shape[2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["FrozenBN", "SyncBN", "GN", "LN", ""])
def test_activation_survives_replaced_normalization(norm: str) -> None:
    backbone = Backbone(name="efficientnet_lite0", out_features=("res3",), freeze_at=0, norm=norm)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert sum(isinstance(m, nn.ReLU6) for m in backbone.modules()) > 10
    assert backbone(torch.randn(2, 3, 32, 32))["res3"].shape == (2, 40, 4, 4)


def test_frozen_normalization_equals_evaluation_mode() -> None:
    name = "tf_efficientnet_lite0"  # its epsilon is not the usual one
    plain = Backbone(name=name, out_features=("res3", "res5"), freeze_at=0, norm="BN").eval()
    frozen = Backbone(name=name, out_features=("res3", "res5"), freeze_at=2, norm="FrozenBN")
    frozen.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 64)
    for level, x in plain(image).items():
        torch.testing.assert_close(frozen(image)[level], x)


@pytest.mark.parametrize(("name", "freeze_at", "frozen"), [
    ("resnet18", 1, {"conv1", "bn1"}),
    ("resnet18", 2, {"conv1", "bn1", "layer1"}),
    ("convnext_atto", 2, {"stem_0", "stem_1", "stages_0"}),
    ("mobilenetv3_small_050", 2, {"conv_stem", "bn1", "blocks.0"}),
    ("swin_tiny_patch4_window7_224", 3, {"patch_embed", "layers_0", "layers_1"}),
])  # fmt: skip
def test_stages_up_to_freeze_at_are_frozen(name: str, freeze_at: int, frozen: set[str]) -> None:
    with torch.device("meta"):
        backbone = Backbone(name=name, out_features=("res4",), freeze_at=freeze_at, norm="BN")
    parts = tuple(f"{part}." for part in frozen)
    for name, parameter in backbone.body.named_parameters():
        assert parameter.requires_grad is not name.startswith(parts), name
    for module in (m for part in frozen for m in backbone.body.get_submodule(part).modules()):
        assert not isinstance(module, nn.BatchNorm2d)


@pytest.mark.parametrize(("options", "message"), [
    (["convnext_tinny"], "did you mean convnext_tiny or"),
    ([""], "timm has no network called ''"),
    (["resnet18", "MODEL.TIMM.NECK", "pan"], "MODEL.TIMM.NECK is 'pan'; choose one of fpn,"),
    (["maxvit_rmlp_nano_rw_256"], "accepts only one image size"),
    (["vit_tiny_patch16_224"], "accepts only one image size"),
    (
        ["inception_v3"],
        r"'inception_v3' turns images of 448 x 320 into a feature map res3 of 53 x 37, but a "
        r"neck needs 56 x 40; choose another network \(docs/backbones.md\)",
    ),
    (
        ["convnext_atto", "MODEL.BACKBONE.FREEZE_AT", "1"],
        r"can be frozen up to 2, 3, 4, 5; 0 trains all \(MODEL.BACKBONE.FREEZE_AT\)",
    ),
    (
        ["resnet18", "MODEL.TIMM.OUT_INDICES", "[7]"],
        r"the feature map 7, but 'resnet18' has 0, 1.* \(MODEL.TIMM.OUT_INDICES\)",
    ),
    (["resnet18", "MODEL.BIFPN.NUM_LEVELS", "3", "MODEL.TIMM.NECK", "bifpn"], "level p6"),
    (["resnet18", "MODEL.CENTERNET.FPN_STRIDES", "[4,8,16,32,64]"], "FPN_STRIDES is"),
])  # fmt: skip
def test_impossible_options_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detector(*options)


def test_feature_maps_by_numbers_of_timm() -> None:
    model = detector("resnet18", "MODEL.TIMM.OUT_INDICES", "[2,3,4]", "MODEL.FPN.IN_FEATURES", "[]")
    assert list(model.backbone.channels) == ["res3", "res4", "res5"]


def test_pretrained_weights_set_the_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mobilenetv3_small_050"
    options = [*SMALL, "MODEL.TIMM.NAME", name, "MODEL.TIMM.PRETRAINED", "True"]
    config = centernet2.load_config("CenterNet2_R50_1x", options)
    expected = tuple(255 * x for x in timm.get_pretrained_cfg(name).mean)
    fitted = fit_to_weights(config, WeightsFile(f"timm's {name}", "network", {}))
    assert fitted["MODEL.PIXEL_MEAN"] == expected and fitted["INPUT.FORMAT"] == "RGB"

    def offline(*args: object, **options: object) -> None:
        raise OSError("no network\nhere")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"timm cannot load its weights of .* \(no network\)"):
        read_timm_weights(name)


def test_checkpoint_loads_without_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*SMALL, "MODEL.TIMM.NAME", "mobilenetv3_small_050", "MODEL.TIMM.PRETRAINED", "True"]
    config = centernet2.load_config("CenterNet2_R50_1x", options)
    model = build_detector(config)
    info = replace(model.info, class_names=("a", "b", "c"))
    save_checkpoint(tmp_path / "w.pth", Checkpoint(model.state_dict(), info, 1, {}))
    create = timm.create_model

    def offline(*args: Any, **options: Any) -> Any:
        assert not options.get("pretrained")
        return create(*args, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    loaded = load_model(tmp_path / "w.pth").state_dict()
    again = centernet2.build_model(config, weights=tmp_path / "w.pth").state_dict()
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded[key], tensor) and torch.equal(again[key], tensor)


def test_missing_level_of_neck_is_named() -> None:
    options = ["MODEL.BACKBONE.NAME", "build_p35_resnet_fpn_backbone"]
    with pytest.raises(ConfigError, match="uses level p6, but the neck has only p3, p4, p5"):
        centernet2.build_model(centernet2.load_config("CenterNet2_R50_1x", options))
