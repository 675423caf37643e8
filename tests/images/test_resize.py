import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.v2.functional import _geometry

from centernet2.images import resize
from centernet2.images.resize import (
    FitShortestEdge,
    FitSquare,
    make_test_resize,
    shortest_edge_size,
)
from centernet2.structures import TestSize


def test_length_zero_keeps_the_image() -> None:
    image = torch.zeros(3, 90, 120, dtype=torch.uint8)
    assert FitShortestEdge(length=0, max_size=10)(image) is image


def test_square_sets_the_longer_edge() -> None:
    assert FitSquare(size=64)(torch.zeros(3, 90, 120, dtype=torch.uint8)).shape == (3, 48, 64)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1067)), ((50, 2000), (33, 1333)), ((612, 612), (800, 800))],
)
def test_sizes_by_hand(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shortest_edge_size(*size, length=800, max_size=1333) == expected


def test_sizes_equal_the_reference(shared: Path) -> None:
    golden: dict[str, Any] = json.loads(
        (shared / "golden" / "resize_shortest_edge.json").read_text()
    )
    for size, results in golden.items():
        height, width = map(int, size.split("x"))
        for numbers, expected in results.items():
            length, max_size = map(int, numbers.split("/"))
            assert (
                list(shortest_edge_size(height, width, length=length, max_size=max_size))
                == expected
            )


def test_test_size_chooses_the_resize() -> None:
    edge = make_test_resize(TestSize("shortest_edge", 800, 1333))
    assert edge.output_size(480, 640) == (800, 1067)
    assert make_test_resize(TestSize("square", 640)).output_size(480, 640) == (480, 640)


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float16])
def test_pixels_equal_those_of_torchvision(
    dtype: torch.dtype, is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resize, "_interpolates_uint8", lambda device: is_native)
    monkeypatch.setattr(_geometry, "_do_native_uint8_resize_on_cpu", lambda mode: is_native)
    image = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8).to(dtype)
    for x in (image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        for size in ((40, 31), (120, 95), (60, 90)):
            expected = _geometry.resize_image(x, list(size), antialias=True)
            assert torch.equal(actual := resize.resize_image(x, *size), expected)
            assert actual.stride() == expected.stride()
