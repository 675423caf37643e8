from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
    Transform,
)
from centernet2.images.resize import FitShortestEdge, FitSquare
from centernet2.structures import Target

HEIGHT, WIDTH = 90, 120
RECTANGLE = (20, 30, 70, 60)  # x1, y1, x2, y2

TRANSFORMS: dict[str, Transform] = {
    "shortest edge, choice": ResizeShortestEdge(lengths=(60, 130), max_size=400, sampling="choice"),
    "shortest edge, range": ResizeShortestEdge(lengths=(50, 140), max_size=150, sampling="range"),
    "EfficientDet": EfficientDetResizeCrop(size=100, scale_range=(0.5, 2.0)),
    "crop, relative range": RandomCrop(kind="relative_range", size=(0.5, 0.5)),
    "crop, relative": RandomCrop(kind="relative", size=(0.6, 0.7)),
    "crop, absolute": RandomCrop(kind="absolute", size=(50, 80)),
    "crop, absolute range": RandomCrop(kind="absolute_range", size=(40, 100)),
    "flip, horizontal": RandomFlip(direction="horizontal"),
    "flip, vertical": RandomFlip(direction="vertical"),
}
ALL = (
    TRANSFORMS["crop, relative range"],
    TRANSFORMS["EfficientDet"],
    TRANSFORMS["flip, horizontal"],
    TRANSFORMS["flip, vertical"],
)


def painted() -> tuple[Tensor, Target]:
    """A white rectangle on black, its box and its mask."""
    x1, y1, x2, y2 = RECTANGLE
    image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    image[:, y1:y2, x1:x2] = 255
    target: Target = {
        "boxes": torch.tensor([RECTANGLE], dtype=torch.float32),
        "labels": torch.tensor([4]),
        "masks": image[:1] > 0,
    }
    return image, target


@pytest.mark.parametrize("name", [*TRANSFORMS, "all"])
def test_boxes_and_masks_follow_the_pixels(name: str) -> None:
    transform = TrainTransform(steps=ALL if name == "all" else (TRANSFORMS[name],))
    for seed in range(30):
        image, target = transform(*painted(), Generator().manual_seed(seed))
        assert image.dtype == torch.uint8
        assert target["masks"].shape[1:] == image.shape[1:]
        rows, columns = (image[0] > 127).any(1).nonzero(), (image[0] > 127).any(0).nonzero()
        if not len(target["boxes"]):
            assert len(rows) <= 1 or len(columns) <= 1  # not more than a rounded edge is left
            continue
        assert target["labels"].tolist() == [4]
        found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (target["boxes"][0] - found).abs().max() <= 1.5
        assert ((image[0] > 127) ^ target["masks"][0]).float().mean() < 0.05


def test_result_depends_on_the_generator() -> None:
    transform = TrainTransform(steps=ALL)
    results = [transform(*painted(), Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert results[0].shape != results[2].shape or not torch.equal(results[0], results[2])


def test_global_random_state_is_unchanged() -> None:
    before = torch.get_rng_state()
    TrainTransform(steps=ALL)(*painted(), Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_arguments_are_not_changed() -> None:
    image, target = painted()
    TrainTransform(steps=ALL)(image, target, Generator().manual_seed(3))
    assert torch.equal(image, painted()[0])
    assert target["boxes"].tolist() == [list(RECTANGLE)]


def test_clips_boxes_and_drops_empty_ones() -> None:
    boxes = [[-20.0, -10, 30, 30], [500, 400, 530, 430], [0, 10, 0, 20], [100, 80, 150, 95]]
    target: Target = {"boxes": torch.tensor(boxes), "labels": torch.arange(4)}
    _, result = TrainTransform(steps=())(painted()[0], target, Generator())
    assert result["boxes"].tolist() == [[0, 0, 30, 30], [100, 80, 120, 90]]
    assert result["labels"].tolist() == [0, 3]


def test_transforms_without_objects() -> None:
    target: Target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for transform in TRANSFORMS.values():
        _, result = TrainTransform(steps=(transform,))(
            painted()[0], target, Generator().manual_seed(0)
        )
        assert result["boxes"].shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 1), (4, 2000), (2000, 4)])
def test_extreme_images_keep_at_least_one_pixel(size: tuple[int, int]) -> None:
    image = torch.zeros(3, *size, dtype=torch.uint8)
    target: Target = {
        "boxes": torch.tensor([[0.0, 0, size[1], size[0]]]),
        "labels": torch.zeros(1, dtype=torch.int64),
    }
    for transform in TRANSFORMS.values():
        result, _ = TrainTransform(steps=(transform,))(image, target, Generator().manual_seed(0))
        assert min(result.shape) >= 1
    assert min(FitShortestEdge(length=80, max_size=130)(image).shape) >= 1
    assert min(FitSquare(size=64)(image).shape) >= 1


def test_half_of_the_images_are_flipped() -> None:
    flip = RandomFlip(direction="horizontal")
    generator = Generator().manual_seed(0)
    flipped = sum(
        flip(*painted(), generator)[1]["boxes"][0, 0].item() == WIDTH - 70 for _ in range(400)
    )
    assert 160 < flipped < 240


def test_lengths_of_choice_and_range() -> None:
    generator = Generator().manual_seed(0)
    choice = ResizeShortestEdge(lengths=(40, 50, 60), max_size=1000, sampling="choice")
    assert {choice(*painted(), generator)[0].shape[1] for _ in range(60)} == {40, 50, 60}
    span = ResizeShortestEdge(lengths=(40, 44), max_size=1000, sampling="range")
    assert {span(*painted(), generator)[0].shape[1] for _ in range(100)} == {40, 41, 42, 43, 44}


def test_range_needs_two_lengths() -> None:
    with pytest.raises(ValueError, match="two lengths"):
        ResizeShortestEdge(lengths=(40,), max_size=1000, sampling="range")


def test_efficientdet_crop_fits_the_square() -> None:
    transform = EfficientDetResizeCrop(size=100, scale_range=(0.1, 2.0))
    shapes = [
        transform(*painted(), Generator().manual_seed(seed))[0].shape[1:] for seed in range(60)
    ]
    assert max(max(shape) for shape in shapes) == 100
    assert min(max(shape) for shape in shapes) < 40


def test_efficientdet_boxes_use_the_exact_scale() -> None:
    transform = EfficientDetResizeCrop(size=77, scale_range=(1.0, 1.0))
    _, target = transform(*painted(), Generator().manual_seed(0))
    assert torch.allclose(target["boxes"][0], torch.tensor(RECTANGLE) * (77 / 120))


@pytest.mark.parametrize(("kind", "size", "message"), [
    ("relative", (1.5, 0.5), "give fractions of the image"),
    ("relative_range", (0.5, 384.0), "give fractions of the image"),
    ("absolute", (0.9, 0.9), "give pixels"),
    ("absolute_range", (100.0, 40.0), "give the smaller one first"),
])  # fmt: skip
def test_crop_of_other_kinds_is_refused(kind: Any, size: tuple[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=rf"INPUT\.CROP\.SIZE\); {message}"):
        RandomCrop(kind=kind, size=size)


def test_range_of_edges_begins_with_the_shorter_one() -> None:
    with pytest.raises(ValueError, match=r"INPUT\.MIN_SIZE_TRAIN\) is \(960, 480\)"):
        ResizeShortestEdge(lengths=(960, 480), max_size=1333, sampling="range")
