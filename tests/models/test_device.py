"""The detector on a device that is not the CPU: nothing stays behind on the host, and nothing waits for it."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.models.detector import Detector
from centernet2.ops import nms, roi_align
from centernet2.structures import Target
from tests.pretend import DEVICE, PretendDevice, PretendTensor

SMALL = [
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "MODEL.CENTERNET.POST_NMS_TOPK_TRAIN", "40", "INPUT.FORMAT", "RGB",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0001", "MODEL.CENTERNET.INFERENCE_TH", "0.0001",
    "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "20", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
]  # fmt: skip
MODELS = {
    "two-stage": ("CenterNet2_R18_small", ()),
    "masks": ("CenterNet2_R18_small", ("MODEL.MASK_ON", "True")),
    "one-stage": ("CenterNet-FPN_R50_1x", ("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64")),
}


def scene() -> tuple[list[Tensor], list[Target]]:
    random = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (3, h, w), dtype=torch.uint8, generator=random) for h, w in ((64, 96), (90, 60))]
    targets: list[Target] = []
    for image in images:
        boxes = torch.tensor([[4.0, 6, 40, 50], [20, 10, 55, 60]])
        masks = torch.zeros(2, *image.shape[1:], dtype=torch.bool)
        masks[:, 10:50, 20:40] = True
        targets.append({"boxes": boxes, "labels": torch.tensor([1, 0]), "masks": masks})
    return images, targets


def build(kind: str) -> Detector:
    name, options = MODELS[kind]
    torch.manual_seed(0)
    return centernet2.build_model(centernet2.load_config(name, [*SMALL, *options]))


def by(kinds: dict[str, str], operator: str, device_type: str) -> str:
    return kinds[operator]


@pytest.fixture(params=["kernels", "plain tensors"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With torchvision's kernels for it, but for the suppression of boxes; or without any."""
    pooling = "torchvision" if request.param == "kernels" else "ours"
    choice = partial(by, {"nms": "ours", "roi_align": pooling, "deform_conv2d": pooling})
    for module in (nms, roi_align):
        monkeypatch.setattr(module, "backend", choice)
    return str(request.param)


def moved(images: list[Tensor], targets: list[Target]) -> tuple[list[Tensor], list[Any]]:
    there = [image.to(DEVICE, non_blocking=True) for image in images]
    return there, [{k: v.to(DEVICE, non_blocking=True) for k, v in target.items()} for target in targets]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", MODELS)
def test_a_training_step(kind: str, device: str) -> None:
    model = build(kind).train()
    images, targets = scene()
    expected = {name: loss.item() for name, loss in model(images, targets).items()}
    assert len(expected) >= 2
    with PretendDevice() as pretend:
        model.to(DEVICE)
        there = moved(images, targets)
        pretend.waits.clear()
        torch.manual_seed(0)
        losses = model(*there)
        torch.stack(list(losses.values())).sum().backward()
        waits = dict(pretend.waits)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(isinstance(gradient, PretendTensor) for gradient in gradients)
        found = {name: loss.item() for name, loss in losses.items()}
    assert found.keys() == expected.keys()
    for name in (name for name in found if "centernet" in name):  # the others learn from a random sample
        assert found[name] == pytest.approx(expected[name], rel=1e-3)
    if device == "kernels":
        assert waits == {}


@pytest.mark.parametrize("kind", MODELS)
def test_inference(kind: str, device: str) -> None:
    model = build(kind).eval()
    images, _ = scene()
    with torch.no_grad():
        expected = model(images)
        with PretendDevice():
            found = model.to(DEVICE)([image.to(DEVICE) for image in images])
            found = [{key: value.cpu() for key, value in each.items()} for each in found]
    assert sum(len(each["boxes"]) for each in expected)
    for ours, wanted in zip(found, expected, strict=True):
        for key in wanted:
            torch.testing.assert_close(ours[key], wanted[key], rtol=1e-3, atol=1e-2)


def test_the_device_refuses_what_was_made_elsewhere() -> None:
    with PretendDevice() as pretend:
        x = torch.ones(3, device=DEVICE)
        with pytest.raises(RuntimeError, match="lie on the CPU"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match=r"torch\.tensor"):
            x + torch.tensor([1.0, 2, 3], device=DEVICE)
        assert not pretend.waits
        x[x > 0]
        (x > 0).nonzero()
        x.sum().item()
        x.cpu()
        torch.ones(3).to(DEVICE)
    assert set(pretend.waits) == {
        "aten::index",
        "aten::nonzero",
        "aten::_local_scalar_dense",
        "to the host",
        "to the device",
    }
