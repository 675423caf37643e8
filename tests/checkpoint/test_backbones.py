"""Weights files of backbones: completely loaded, with outputs of their library."""

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import centernet2
from centernet2.builders.detector.initial_weights import fit_to_previous
from centernet2.builders.detector.loading import config_of
from centernet2.checkpoint import WeightsError, load_weights, read_weights
from centernet2.checkpoint.names import to_reference
from centernet2.models.detector import Detector
from tests.helpers.fill import caffe2

SMALL_HEAD = ["MODEL.ROI_BOX_HEAD.FC_DIM", "16"]
FPN = "CenterNet2_R50_1x"
X101 = [
    "MODEL.RESNETS.NUM_GROUPS", "32", "MODEL.RESNETS.WIDTH_PER_GROUP", "8",
    "MODEL.RESNETS.DEPTH", "101",
]  # fmt: skip
RESNETS = {
    "resnet18": ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"],
    "resnet34": ["MODEL.RESNETS.DEPTH", "34", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"],
    "resnet50": [],
    "resnet101": ["MODEL.RESNETS.DEPTH", "101"],
    "resnet152": ["MODEL.RESNETS.DEPTH", "152"],
    "resnext101_32x8d": X101,
}
IMAGE = torch.linspace(-2, 2, 3 * 64 * 96).reshape(1, 3, 64, 96).sin()


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network with distinct statistics in every normalization layer."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 1 + 0.2 * torch.rand(module.num_features, generator=generator)
    network.eval()
    return network.state_dict()


def detector(name: str, options: list[str], path: Path) -> Detector:
    return centernet2.build_model(
        centernet2.load_config(name, [*SMALL_HEAD, *options]), weights=path
    ).eval()


def fills_backbone(model: nn.Module, path: Path, skipped: set[str]) -> None:
    report = load_weights(model, read_weights(path))
    assert not report.mismatched
    assert set(report.skipped) == skipped
    assert not [
        name
        for name in report.reinitialized
        if name.startswith("backbone.") and ".offset." not in name
    ]


@torch.no_grad()
def torchvision_features(network: nn.Module, image: Tensor) -> list[Tensor]:
    layers = dict(network.named_children())
    x = layers["maxpool"](layers["relu"](layers["bn1"](layers["conv1"](image))))
    maps = []
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        x = layers[stage](x)
        maps.append(x)
    return maps[1:]


def assert_same(maps: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    for ours, theirs in zip(maps, expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.std()


@pytest.mark.parametrize(("name", "library"), [
    ("resnet18", "torchvision"), ("resnet34", "timm"),
    ("resnet50", "torchvision"), ("resnet50", "timm"), ("resnext101_32x8d", "torchvision"),
    pytest.param("resnext101_32x8d", "timm", marks=pytest.mark.slow),
    pytest.param("resnet101", "torchvision", marks=pytest.mark.slow),
    pytest.param("resnet152", "timm", marks=pytest.mark.slow),
])  # fmt: skip
def test_resnets_equal_their_library(name: str, library: str, tmp_path: Path) -> None:
    if library == "timm":
        network = timm.create_model(name)
        state = state_of(network)
        with torch.no_grad():
            expected = network.forward_intermediates(IMAGE, intermediates_only=True)[-3:]
    else:
        network = getattr(torchvision.models, name)()
        state = state_of(network)
        expected = torchvision_features(network, IMAGE)
    torch.save(state, tmp_path / "w.pth")
    model = detector(FPN, RESNETS[name], tmp_path / "w.pth")
    with torch.no_grad():
        assert_same(model.backbone(IMAGE).values(), expected)
    fills_backbone(model, tmp_path / "w.pth", {"fc.weight", "fc.bias"})
    assert not model.preprocess.reverses_channels
    assert model.preprocess.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_options_of_weights_reach_checkpoints(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "w.pth")
    previous = config_of(detector(FPN, [], tmp_path / "w.pth").info)
    assert previous["MODEL.RESNETS.STRIDE_IN_1X1"] is False and previous["INPUT.FORMAT"] == "RGB"
    resumed = fit_to_previous(centernet2.load_config(FPN), previous)
    assert resumed["MODEL.RESNETS.STRIDE_IN_1X1"] is False and resumed["INPUT.FORMAT"] == "RGB"


def test_stated_options_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "w.pth")
    stated = ["MODEL.RESNETS.STRIDE_IN_1X1", "True", "MODEL.PIXEL_STD", "[57.375,57.12,58.395]"]
    model = detector(FPN, stated, tmp_path / "w.pth")
    assert model.backbone.body.layer2[0].conv1.stride == (2, 2)
    assert model.preprocess.reverses_channels
    assert "the config states other values" in caplog.text


def test_deformable_stages_take_plain_convolutions(tmp_path: Path) -> None:
    state = state_of(torchvision.models.resnext101_32x8d())
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        tmp_path / "w.pth",
    )
    model = detector("CenterNet2_X101-DCN_2x", [], tmp_path / "w.pth")
    conv2: Any = model.backbone.body.layer3[0].conv2
    assert torch.equal(conv2.conv.weight, state["layer3.0.conv2.weight"])
    assert conv2.conv.stride == conv2.offset.stride == (2, 2)
    assert not conv2.offset.weight.any()
    fills_backbone(model, tmp_path / "w.pth", {"fc.weight", "fc.bias"})


def test_caffe2_resnext_loads_like_the_reference(tmp_path: Path, shared: Path) -> None:
    golden = json.loads((shared / "golden" / "caffe2_names_X-101-32x8d.json").read_text())
    blobs = {name: caffe2(name, tuple(shape)) for name, shape in golden["shapes"].items()}
    path = tmp_path / "X-101-32x8d.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}))
    model = detector("CenterNet2_X101-DCN_2x", [], path)
    fills_backbone(model, path, set())
    state = to_reference(model.state_dict())
    for blob, name in golden["loads_into"].items():
        assert torch.equal(state[name], torch.from_numpy(blobs[blob])), blob


def res2net_as_detectron2(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Rename weights as Res2Net's authors do for detectron2."""
    renamed = {}
    for name, tensor in state.items():
        new = name if name.startswith("layer") else f"stem.{name}"
        for stage in (1, 2, 3, 4):
            new = new.replace(f"layer{stage}", f"res{stage + 1}")
        if not new.startswith("stem.bn1"):
            for i in (1, 2, 3):
                new = new.replace(f"bn{i}", f"conv{i}.norm")
        new = new.replace("downsample.1", "shortcut.1").replace("downsample.2", "shortcut.1.norm")
        renamed[new] = tensor.numpy()
    return renamed


@pytest.mark.parametrize(
    "config", ["CenterNet2_R2-101-DCN_896_4x", "CenterNet2_R2-101-DCN-BiFPN_1280_4x"]
)
def test_res2net_in_detectron2_format(tmp_path: Path, config: str) -> None:
    state = state_of(timm.create_model("res2net101d"))
    arrays = res2net_as_detectron2(state)
    content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    (tmp_path / "r2_101.pkl").write_bytes(pickle.dumps(content))
    model = detector(config, [], tmp_path / "r2_101.pkl")
    fills_backbone(model, tmp_path / "r2_101.pkl", {"stem.fc.weight", "stem.fc.bias"})
    reference = to_reference(model.state_dict())
    for name, array in arrays.items():
        if not name.startswith("stem.fc.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(reference[f"backbone.bottom_up.{name}"], torch.from_numpy(array)), (
                name
            )
    assert model.backbone.body.layer2[0].conv1.stride == (2, 2)  # as in the reference's config


def test_res2net_of_timm(tmp_path: Path) -> None:
    network = timm.create_model("res2net101d")
    torch.save(state_of(network), tmp_path / "w.pth")
    plain = ["MODEL.RESNETS.DEFORM_ON_PER_STAGE", "[False,False,False,False]"]
    model = detector("CenterNet2_R2-101-DCN_896_4x", plain, tmp_path / "w.pth")
    fills_backbone(model, tmp_path / "w.pth", {"fc.weight", "fc.bias"})
    with torch.no_grad():
        expected = network.forward_intermediates(IMAGE, intermediates_only=True)[-3:]
        assert_same(model.backbone(IMAGE).values(), expected)


@pytest.mark.parametrize("config", ["CenterNet2_DLA-BiFPN-P5_640_16x", "CenterNet-S4_DLA_8x"])
def test_dla_of_its_authors(tmp_path: Path, config: str) -> None:
    network = timm.create_model("dla34")
    state = state_of(network)
    unused = {
        f"level{level}.project.1.{leaf}": torch.zeros(256)
        for level in (3, 4)
        for leaf in ("weight", "bias")
    }
    torch.save(
        state | unused, tmp_path / "dla34-ba72cf86.pth", _use_new_zipfile_serialization=False
    )
    model = detector(config, [], tmp_path / "dla34-ba72cf86.pth")
    fills_backbone(model, tmp_path / "dla34-ba72cf86.pth", {"fc.weight", "fc.bias"})
    with torch.no_grad():
        expected = network.forward_intermediates(IMAGE, intermediates_only=True)
        assert_same(list(model.backbone(IMAGE).values())[-3:], expected[-3:])


def test_ambiguous_name_is_refused(tmp_path: Path) -> None:
    content = {
        "model": {"bias": np.zeros(3, np.float32)},
        "__author__": "me",
        "matching_heuristics": True,
    }
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"w\.pkl cannot be used: its 'bias' matches both"):
        model = centernet2.build_model("CenterNet2_R18_small")
        load_weights(model, read_weights(tmp_path / "w.pkl"))


@pytest.mark.parametrize(("config", "network", "message"), [
    (FPN, "dla34", "nothing in"),
    ("CenterNet2_DLA-BiFPN-P5_640_16x", "resnet50", "nothing in"),
    (FPN, "resnet18", "holds another backbone"),
    ("CenterNet2_X101-DCN_2x", "resnext50_32x4d", "holds another backbone"),
])  # fmt: skip
def test_other_architecture_is_refused(
    tmp_path: Path, config: str, network: str, message: str
) -> None:
    torch.save(timm.create_model(network).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        detector(config, [], tmp_path / "w.pth")
