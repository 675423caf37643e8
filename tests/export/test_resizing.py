"""The size that a graph computes is the size that the data pipeline computes."""

import pytest
import torch

from centernet2.export.resizing import resize, resized_size
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
    assert torch.equal(resized.images[1], make_test_resize(test_size)(image[1]))
    assert resized.padding == (7, 0) and resized.size.tolist() == [89, 160]
    same = resize(image, TestSize(), 32)
    assert torch.equal(same.images, image) and same.padding == (14, 6)
