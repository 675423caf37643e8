"""Static shapes: reference numbers, padding, one program for each padded size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.builders.data.data_pipeline import fixed_sizes
from centernet2.models.preprocess import PADDED_OBJECTS, pad_target
from centernet2.structures import Target
from tests.helpers.networks import MODELS, SMALL
from tests.helpers.reference import agreement, evaluate, portable_scenes, reference_model, train

STATIC = (
    "INPUT.STATIC_SHAPES", "True", "INPUT.MIN_SIZE_TRAIN", "(192,)", "INPUT.MAX_SIZE_TRAIN", "256",
    "INPUT.MIN_SIZE_TEST", "192", "INPUT.MAX_SIZE_TEST", "256",
)  # fmt: skip
SLOW = ("CenterNet-FPN_R50_1x", "LVIS_CenterNet2_R50_Fed_1x")


@pytest.mark.parametrize(
    "name", ["CenterNet2_R50_1x", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
def test_static_shapes_give_reference_numbers(name: str, tmp_path: Path) -> None:
    scenes = portable_scenes()
    model = reference_model(name, tmp_path, STATIC)
    assert model.preprocess.fixed_sizes[0] == (192, 256)
    golden = scenes.read(f"{name}.eval.npz")
    for i, found in enumerate(evaluate(model, scenes.images).detections):
        keys = {"boxes": "boxes", "scores": "scores", "labels": "classes"}
        expected = {ours: golden[f"det{i}_{key}"] for ours, key in keys.items()}
        assert agreement(dict(found), expected) >= 0.98
    golden = scenes.read(f"{name}.train.npz")
    losses = train(model, scenes.images, scenes.targets(model)).losses
    for key, loss in losses.items():
        assert loss == pytest.approx(float(golden[f"loss/{key}"]), rel=1e-3, abs=1e-6), key


def test_fixed_sizes_of_configs() -> None:
    config = centernet2.load_config("CenterNet2_R50_1x")
    assert fixed_sizes(config, 128) == [(896, 1408), (1408, 896), (1408, 1408)]
    square = config.replace(
        {"INPUT.CUSTOM_AUG": "EfficientDetResizeCrop", "INPUT.TEST_INPUT_TYPE": "square"}
    )
    assert fixed_sizes(square, 128) == [(640, 640)]


def test_ground_truth_is_padded() -> None:
    target: Target = {
        "boxes": torch.rand(3, 4), "labels": torch.ones(3, dtype=torch.int64),
        "masks": torch.ones(3, 5, 6, dtype=torch.bool),
    }  # fmt: skip
    padded = pad_target(target, (8, 9))
    assert padded["boxes"].shape == (PADDED_OBJECTS, 4) and padded["labels"].shape == (
        PADDED_OBJECTS,
    )
    assert padded["valid"].tolist() == [True] * 3 + [False] * (PADDED_OBJECTS - 3)
    assert padded["masks"].shape == (PADDED_OBJECTS, 8, 9) and padded["masks"].sum() == 3 * 5 * 6
    none: Target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert pad_target(none, (8, 9))["boxes"].shape == (PADDED_OBJECTS, 4)


def batch(random: np.random.Generator) -> tuple[list[Tensor], list[Target]]:
    """Two images, wide or tall, with 0 to 5 objects each."""
    images, targets = [], []
    for _ in range(2):
        size = [int(random.integers(40, 65)), int(random.integers(50, 97))]
        h, w = size if random.random() < 0.5 else size[::-1]
        images.append(torch.from_numpy(random.integers(0, 255, (3, h, w), dtype=np.uint8)))
        count = int(random.integers(6))
        low = torch.from_numpy(random.random((count, 2), dtype=np.float32)) * 20
        extent = torch.from_numpy(random.random((count, 2), dtype=np.float32)) * 20 + 4
        boxes = torch.cat([low, low + extent], dim=1)
        targets.append(Target(boxes=boxes, labels=torch.zeros(count, dtype=torch.int64)))
    return images, targets


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two-stage", "one-stage"])
def test_one_program_for_each_size(kind: str) -> None:
    name, options = MODELS[kind]
    sizes = [value.replace("192", "64").replace("256", "96") for value in STATIC]
    model = centernet2.build_model(centernet2.load_config(name, [*SMALL, *options, *sizes])).train()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, backend="eager", dynamic=False)
    warm_up, random = np.random.default_rng(0), np.random.default_rng(1)
    counts = torch._dynamo.utils.counters
    for _ in range(12):
        compiled(*batch(warm_up))
    programs = counts["stats"]["unique_graphs"]
    assert programs == len(model.preprocess.fixed_sizes) == 3 and not counts["graph_break"]
    for _ in range(10):
        losses = compiled(*batch(random))
        assert all(loss.isfinite() for loss in losses.values())
    assert counts["stats"]["unique_graphs"] == programs and not counts["graph_break"]


def test_masks_equal_those_of_dynamic_shapes() -> None:
    """On images of a fixed size, which both pad alike, with every proposal as an RoI."""
    name, options = MODELS["masks"]
    everything = (
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "256", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0",
    )  # fmt: skip
    sizes = [value.replace("192", "64").replace("256", "96") for value in STATIC]
    torch.manual_seed(0)
    usual = centernet2.build_model(centernet2.load_config(name, [*SMALL, *options, *everything]))
    static = centernet2.build_model(
        centernet2.load_config(name, [*SMALL, *options, *everything, *sizes])
    )
    static.load_state_dict(usual.state_dict())
    random = torch.Generator().manual_seed(1)
    images = [*torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8, generator=random)]
    boxes = torch.tensor([[4.0, 6, 40, 50], [20, 10, 75, 60]])
    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    masks[0, 8:48, 6:38] = masks[1, 14:60, 24:70] = True
    targets = [Target(boxes=boxes, labels=torch.tensor([1, 0]), masks=masks)] * 2
    found, expected = train(static, images, targets).losses, train(usual, images, targets).losses
    assert "loss_mask" in expected and found == pytest.approx(expected, rel=1e-4)
    for ours, wanted in zip(
        evaluate(static, images).detections, evaluate(usual, images).detections, strict=True
    ):
        assert len(wanted["boxes"]) and wanted["masks"].any()
        for key in wanted:
            torch.testing.assert_close(ours[key], wanted[key], rtol=1e-4, atol=1e-3)
