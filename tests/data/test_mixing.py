"""Mixing of images: bright objects on a dark ground show whether boxes fit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from centernet2.data.mixing import CopyPaste, Mixer, Mixing, MixUp, Mosaic, cover_target
from centernet2.data.transforms import (
    LargeScaleJitter,
    PhotometricDistortion,
    ResizeShortestEdge,
    Sample,
    TrainTransform,
    Transform,
)
from centernet2.structures import Target

RESIZE = TrainTransform(
    steps=(ResizeShortestEdge(lengths=(48, 64), max_size=200, sampling="choice"),)
)


def scene(seed: int, kind: str) -> Sample:
    """Draw up to three separate bright rectangles, without masks, bitmaps or polygons."""
    draw = Generator().manual_seed(seed)
    height, width = (int(torch.randint(40, 90, (), generator=draw)) for _ in range(2))
    image = torch.full((3, height, width), 10, dtype=torch.uint8)
    boxes = []
    for column in range(int(torch.randint(0, 4, (), generator=draw))):
        x, y = 3 + column * width // 3, int(torch.randint(2, height // 2, (), generator=draw))
        boxes.append([x, y, x + 8, y + 15])
        image[:, y : y + 15, x : x + 8] = 220
    target: Target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.arange(len(boxes)),
    }
    if kind == "bitmaps":
        target["masks"] = torch.zeros(len(boxes), height, width, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(target["masks"], boxes, strict=True):
            mask[y1:y2, x1:x2] = True
    elif kind == "polygons":
        target["polygons"] = [
            [torch.tensor([[a, b], [c, b], [c, d], [a, d]], dtype=torch.float64)]
            for a, b, c, d in boxes
        ]
    return image, target


def source(seed: int, kind: str) -> Callable[[], Sample]:
    numbers = iter(range(1000 * seed, 1000 * seed + 999))
    return lambda: scene(next(numbers), kind)


def assert_enclosed(image: Tensor, target: Target, threshold: int) -> None:
    """Assert that bright pixels lie in boxes, and that they fill each box."""
    bright = image.float().mean(0) > threshold  # [H, W]
    covered = torch.zeros_like(bright)
    for x1, y1, x2, y2 in target["boxes"].tolist():
        assert 0 <= x1 < x2 <= image.shape[2]
        assert 0 <= y1 < y2 <= image.shape[1]
        covered[max(0, int(y1) - 1) : int(y2) + 2, max(0, int(x1) - 1) : int(x2) + 2] = True
        inside = bright[round(y1) : round(y2), round(x1) : round(x2)]
        if min(inside.shape) > 2:
            assert inside[1:-1, 1:-1].float().mean() > 0.9
    assert not (bright & ~covered).any()
    if "masks" in target and len(target["masks"]):
        assert target["masks"].shape[1:] == image.shape[1:]
        assert (bright ^ target["masks"].any(dim=0)).float().mean() < 0.03


MIXTURES: dict[str, tuple[Mixing, int]] = {
    "mosaic": (Mixing(before=(Mosaic(size=80, probability=1.0),)), 150),
    "mixup": (Mixing(after=(MixUp(probability=1.0),)), 95),
    "copy-paste": (Mixing(after=(CopyPaste(probability=1.0),)), 150),
}


@pytest.mark.parametrize("kind", ["none", "bitmaps", "polygons"])
@pytest.mark.parametrize("name", MIXTURES)
def test_boxes_enclose_their_objects(name: str, kind: str) -> None:
    mixing, threshold = MIXTURES[name]
    objects = 0
    for seed in range(12):
        generator = Generator().manual_seed(seed)
        image, target = mixing(scene(seed, kind), source(seed, kind), RESIZE, generator)
        assert image.dtype == torch.uint8
        assert len(target["boxes"]) == len(target["labels"])
        if name != "mixup":  # 114 at half weight, 10 and 220 lie too close together
            assert_enclosed(image, target, threshold)
        objects += len(target["boxes"])
    single = sum(len(scene(seed, kind)[1]["boxes"]) for seed in range(12))
    # without masks there is nothing to copy
    assert objects > single or (name, kind) == ("copy-paste", "none")


def test_blended_objects_keep_their_boxes() -> None:
    first, second = scene(1, "none"), scene(2, "none")
    image, target = MixUp(probability=1.0, shares=(0.5, 0.5))(
        first, lambda: second, Generator().manual_seed(0)
    )
    assert image.shape[1:] == tuple(
        max(a, b) for a, b in zip(first[0].shape[1:], second[0].shape[1:], strict=True)
    )
    assert torch.equal(target["boxes"], torch.cat([first[1]["boxes"], second[1]["boxes"]]))
    for part, other in ((first, second), (second, first)):
        for x1, y1, x2, y2 in part[1]["boxes"].int().tolist():
            behind = other[0][:, y1:y2, x1:x2].float()
            if behind.shape[1:] == (y2 - y1, x2 - x1):
                assert torch.equal(image[:, y1:y2, x1:x2].float(), (behind + 220) / 2)


@pytest.mark.parametrize(
    "step",
    [LargeScaleJitter(size=96, scale_range=(0.1, 2.0)), PhotometricDistortion(probability=1.0)],
    ids=["jitter", "distortion"],
)
@pytest.mark.parametrize("kind", ["bitmaps", "polygons"])
def test_transformed_boxes_enclose_their_objects(step: Transform, kind: str) -> None:
    for seed in range(12):
        image, target = scene(seed, kind)
        image[:] = torch.where(image > 100, 255, image)
        image, target = TrainTransform(steps=(step,))(image, target, Generator().manual_seed(seed))
        assert_enclosed(image, target, 140)
        if isinstance(step, LargeScaleJitter):
            assert image.shape == (3, 96, 96)


def test_covered_objects_lose_the_covered_part() -> None:
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[0, 0:4, 0:4] = masks[1, 0:4, 6:10] = masks[2, 6:10, 0:4] = True
    boxes = torch.tensor([[0, 0, 4, 4], [6, 0, 10, 4], [0, 6, 4, 10]], dtype=torch.float32)
    cover = torch.zeros(10, 10, dtype=torch.bool)
    cover[0:4, 2:10] = True  # half of the first, all of the second
    left = cover_target(
        {"boxes": boxes, "labels": torch.arange(3), "masks": masks}, cover, min_visible=0.1
    )
    assert left["labels"].tolist() == [0, 2]
    assert left["boxes"].tolist() == [[0, 0, 2, 4], [0, 6, 4, 10]]
    assert not (left["masks"] & cover).any()


def test_uncertain_objects_are_covered_but_not_pasted() -> None:
    masks = torch.zeros(2, 10, 10, dtype=torch.bool)
    masks[0, 0:4, 0:4] = masks[1, 6:10, 6:10] = True
    boxes = torch.tensor([[0, 0, 4, 4], [6, 6, 10, 10]], dtype=torch.float32)
    image = torch.zeros(3, 10, 10, dtype=torch.uint8)

    def sample(*uncertain: bool) -> Sample:
        target: Target = {
            "boxes": boxes, "labels": torch.arange(2), "masks": masks,
            "uncertain": torch.tensor(uncertain),
        }  # fmt: skip
        return image, target

    mixer = CopyPaste(probability=1.0, share=1.0)
    _, mixed = mixer(sample(True, True), lambda: sample(False, True), Generator().manual_seed(0))
    assert mixed["labels"].tolist() == [1, 0]  # the first one is covered
    assert mixed["uncertain"].tolist() == [True, False]
    assert len(mixed["masks"]) == 2


@pytest.mark.parametrize(
    "mixer", [Mosaic(size=8, probability=0.0), MixUp(probability=0.0), CopyPaste(probability=0.0)]
)
def test_probability_zero_changes_and_draws_nothing(mixer: Mixer) -> None:
    def never() -> Any:
        raise AssertionError("no further image is wanted")

    sample = scene(3, "bitmaps")
    assert mixer(sample, never, Generator().manual_seed(0)) is sample


def test_same_generator_gives_the_same_image() -> None:
    mixing = Mixing(
        before=(Mosaic(size=64, probability=0.7),),
        after=(CopyPaste(probability=0.7), MixUp(probability=0.7)),
    )
    first, again, other = (
        mixing(scene(5, "polygons"), source(5, "polygons"), RESIZE, Generator().manual_seed(seed))[
            0
        ]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
