"""How many operators a step consists of: more of them make it slower everywhere, and a loop makes them grow.

The scenes are small and the weights random, so that what is counted is the same on every machine. Where a change is
meant to cost more, or has made a step cheaper, the numbers of EXPECTED are to be replaced by those that the failure
states, in the same commit, whose message says why.
"""

import math

import pytest
import torch
from torch import Tensor

from centernet2.builders.loading import place
from centernet2.kernels import dispatch, heatmap_cpu
from centernet2.models.detector import Detector
from centernet2.structures import Target
from tests.helpers.counting import Work, count_inference, count_training
from tests.models.test_device import build, scene

TOLERANCE = 0.03
EXPECTED = {
    "two-stage": {
        "forward": Work(1990, 15.5),
        "backward": Work(693, 32.3),
        "inference": Work(1466, 16.8),
    },
    "masks": {
        "forward": Work(2178, 20.4),
        "backward": Work(744, 40.2),
        "inference": Work(8435, 286.0),
    },
    "one-stage": {
        "forward": Work(752, 27.2),
        "backward": Work(570, 250.6),
        "inference": Work(502, 71.3),
    },
    "deformable": {
        "forward": Work(1400, 135.7),
        "backward": Work(918, 320.6),
        "inference": Work(1151, 132.2),
    },
    "bifpn": {
        "forward": Work(2023, 88.7),
        "backward": Work(1114, 199.0),
        "inference": Work(1547, 93.4),
    },
}
# operators that one more image may cost, forward, backward, and in inference: its proposals are chosen by themselves
PER_IMAGE = {"two-stage": (145, 0, 75), "one-stage": (15, 0, 20)}


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_step_is_as_cheap_as_it_was(kind: str) -> None:
    model = place(build(kind), "cpu")
    images, targets = scene()
    forward, backward = count_training(model, images, targets)
    counted = {
        "forward": forward,
        "backward": backward,
        "inference": count_inference(model, images),
    }
    found = {name: each.work for name, each in counted.items()}
    for name, expected in EXPECTED[kind].items():
        advice = f"{kind}, {name}: {expected} was expected; if the change is meant, state what is found: {found}"
        for ours, wanted in zip(found[name], expected, strict=True):
            assert ours == pytest.approx(wanted, rel=TOLERANCE), (
                f"{advice}\n{counted[name].calls.most_common()}"
            )


@pytest.fixture
def accelerator_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs where every operator has its price, whatever its size; the CPU looks at objects and regions singly."""
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
    """Operators of the forward pass, of the backward pass, and of inference."""
    images, targets = crowd(num_images, num_objects)
    forward, backward = count_training(model, images, targets)
    return (
        forward.work.operators,
        backward.work.operators,
        count_inference(model, images).work.operators,
    )


@pytest.mark.usefixtures("accelerator_path")
@pytest.mark.parametrize("kind", PER_IMAGE)
def test_objects_cost_no_operators(kind: str) -> None:
    model = place(build(kind), "cpu")
    none, few, many = (counts(model, 2, n) for n in (0, 10, 1000))
    assert few == many
    assert all(a <= b for a, b in zip(none, few, strict=True))


@pytest.mark.usefixtures("accelerator_path")
@pytest.mark.parametrize("kind", PER_IMAGE)
def test_images_cost_few_operators(kind: str) -> None:
    model = place(build(kind), "cpu")
    one, two, three = (counts(model, n, 10) for n in (1, 2, 3))
    for a, b in ((one, two), (two, three)):
        assert all(y - x <= limit for x, y, limit in zip(a, b, PER_IMAGE[kind], strict=True)), (
            one,
            two,
            three,
        )


@pytest.mark.parametrize("kind", PER_IMAGE)
def test_the_cpu_looks_at_objects_one_by_one_only_while_they_are_few(kind: str) -> None:
    model = place(build(kind), "cpu")
    assert counts(model, 2, 1000)[0] <= counts(model, 2, 10)[0]
