"""Size and pixels that a graph computes are those that the data pipeline computes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from centernet2.export.resizing import resize, resize_pixels, resized_size, smoothing_weights
from centernet2.images.resize import make_test_resize
from centernet2.structures import TestSize

# sizes that differ by a pixel in less precise or in exact arithmetic
ROUNDED = [(1932, 1792), (62, 3), (124, 6), (22, 11), (49, 1), (187, 60), (55, 30), (512, 29)]
SIZES = [
    TestSize("shortest_edge", 800, 1333),
    TestSize("shortest_edge", 600, 1000),
    TestSize("square", 896),
    TestSize("square", 512),
]


@pytest.mark.parametrize("test_size", SIZES)
def test_sizes_are_those_of_the_data_pipeline(test_size: TestSize) -> None:
    transform = make_test_resize(test_size)
    random = torch.Generator().manual_seed(0)
    sides = torch.randint(1, 2000, (300, 2), generator=random)
    sides[:20, 1] = sides[:20, 0]  # as high as wide
    for height, width in [*sides.tolist(), *ROUNDED]:
        found = resized_size(torch.tensor([height, width], dtype=torch.float64), test_size)
        assert tuple(found.tolist()) == transform.output_size(height, width), (height, width)


def test_resized_pixels_and_padding() -> None:
    image = torch.randint(0, 255, (2, 3, 50, 90), dtype=torch.uint8)
    test_size = TestSize("shortest_edge", 96, 160)
    resized = resize(image, test_size, 32)
    assert torch.equal(resized.images[1], make_test_resize(test_size)(image[1]).float())
    assert resized.padding == (7, 0) and resized.size.tolist() == [89, 160]
    same = resize(image, TestSize(), 32)
    assert torch.equal(same.images, image) and same.padding == (14, 6)


@pytest.mark.parametrize(
    ("size", "resized"),
    [((48, 64), (22, 30)), ((48, 64), (80, 107)), ((33, 50), (33, 7)), ((128, 96), (9, 96))],
)
def test_pixels_are_those_of_pytorch(size: tuple[int, int], resized: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=random)
    wanted = F.interpolate(images, resized, mode="bilinear", antialias=True)
    assert torch.equal(resize_pixels(images, *resized), wanted.float())


@pytest.mark.parametrize(("length", "resized"), [(640, 299), (31, 12), (12, 31)])
def test_weights_are_equal_where_sizes_are_tensors(length: int, resized: int) -> None:
    whole, part = (torch.tensor(n, dtype=torch.float64) for n in (length, resized))
    wanted = smoothing_weights(np, length / resized, length, resized)
    assert np.array_equal(smoothing_weights(torch, whole / part, length, resized), wanted)
