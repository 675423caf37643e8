"""Upper bounds of the operators of a step: each costs time, and a loop adds many.

The images are small and the weights random, so that the counts are those of every machine. Where a
change is meant to cost more, replace the numbers of MOST by those that the failure states, in the
same commit, and say why in its message.
"""

import math

import pytest
import torch
from torch import Tensor

from centernet2.builders.detector.loading import place
from centernet2.kernels import dispatch, heatmap_cpu
from centernet2.models.detector import Detector
from centernet2.structures import Target
from tests.helpers.counting import Work, count_inference, count_training
from tests.helpers.networks import build, scene

TOLERANCE = 0.03
MOST = {
    "two-stage": {
        "forward": Work(2096, 15.5), "backward": Work(699, 31.6), "inference": Work(1544, 16.8),
    },
    "masks": {
        "forward": Work(2291, 20.4), "backward": Work(758, 39.5), "inference": Work(8517, 285.6),
    },
    "one-stage": {
        "forward": Work(752, 27.2), "backward": Work(570, 250.6), "inference": Work(502, 71.3),
    },
    "deformable": {
        "forward": Work(1400, 135.7), "backward": Work(918, 320.6), "inference": Work(1151, 132.2),
    },
    "bifpn": {
        "forward": Work(2023, 88.7), "backward": Work(1114, 199.0), "inference": Work(1547, 93.4),
    },
}  # fmt: skip
# operators that one more image may add: forward, backward, inference (whose NMS is by image)
PER_IMAGE = {"two-stage": (145, 0, 75), "one-stage": (16, 0, 20)}


@pytest.mark.parametrize("kind", MOST)
def test_steps_take_no_more_operators(kind: str) -> None:
    model = place(build(kind), torch.device("cpu"))
    images, targets = scene()
    forward, backward = count_training(model, images, targets)
    counted = {
        "forward": forward,
        "backward": backward,
        "inference": count_inference(model, images),
    }
    found = {name: each.work for name, each in counted.items()}
    for name, expected in MOST[kind].items():
        advice = f"{kind}, {name}: at most {expected}; if the change is meant, write {found}"
        for ours, most in zip(found[name], expected, strict=True):
            assert ours <= most * (1 + TOLERANCE), f"{advice}\n{counted[name].calls.most_common()}"


@pytest.fixture
def accelerator_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of accelerators; those of the CPU take objects and RoIs one by one."""
    row = dispatch.KERNELS["roi_align"]
    monkeypatch.setitem(row, "cpu", row["torchvision"])
    monkeypatch.setattr(heatmap_cpu, "PEAK_COST", math.inf)


def crowd(num_images: int, num_objects: int) -> tuple[list[Tensor], list[Target]]:
    random = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8, generator=random)
        for _ in range(num_images)
    ]
    targets = []
    for _ in images:
        low = torch.rand(num_objects, 2, generator=random) * torch.tensor([60, 40])
        boxes = torch.cat([low, low + 4 + 30 * torch.rand(num_objects, 2, generator=random)], dim=1)
        targets.append(Target(boxes=boxes, labels=torch.zeros(num_objects, dtype=torch.int64)))
    return images, targets


def counts(model: Detector, num_images: int, num_objects: int) -> tuple[int, int, int]:
    """Operators of the forward pass, the backward pass and inference."""
    images, targets = crowd(num_images, num_objects)
    forward, backward = count_training(model, images, targets)
    return (
        forward.work.operators,
        backward.work.operators,
        count_inference(model, images).work.operators,
    )


@pytest.mark.usefixtures("accelerator_path")
@pytest.mark.parametrize("kind", PER_IMAGE)
def test_objects_add_no_operators(kind: str) -> None:
    model = place(build(kind), torch.device("cpu"))
    none, few, many = (counts(model, 2, n) for n in (0, 10, 1000))
    assert few == many
    assert all(a <= b for a, b in zip(none, few, strict=True))


@pytest.mark.usefixtures("accelerator_path")
@pytest.mark.parametrize("kind", PER_IMAGE)
def test_images_add_few_operators(kind: str) -> None:
    model = place(build(kind), torch.device("cpu"))
    one, two, three = (counts(model, n, 10) for n in (1, 2, 3))
    for a, b in ((one, two), (two, three)):
        assert all(y - x <= limit for x, y, limit in zip(a, b, PER_IMAGE[kind], strict=True)), (
            one,
            two,
            three,
        )


@pytest.mark.parametrize("kind", PER_IMAGE)
def test_many_objects_are_not_drawn_singly(kind: str) -> None:
    model = place(build(kind), torch.device("cpu"))
    assert counts(model, 2, 1000)[0] <= counts(model, 2, 10)[0]
