"""Large images in tiles: every object once, with its whole box and mask."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from centernet2.ops.mask_arrays import paste_grids
from centernet2.predict.pytorch_detector import PyTorchDetector
from centernet2.predict.tiling import Detect, Tiling, detect_tiled, tile_windows
from tests.helpers.colored_objects import ColorDetector, ColoredObjects


def in_arrays(detector: ColorDetector) -> Detect:
    """Return a function from arrays to arrays."""
    return PyTorchDetector(detector).detect


@pytest.mark.parametrize("size", [(4000, 6000), (1024, 1024), (1025, 900), (50, 3000), (2000, 1)])
@pytest.mark.parametrize("tiling", [Tiling(), Tiling(256, 0.0), Tiling(100, 0.9)])
def test_windows_cover_the_image_and_overlap(size: tuple[int, int], tiling: Tiling) -> None:
    windows = tile_windows(size, tiling)
    for axis, side in ((0, size[1]), (1, size[0])):
        spans = sorted({(window[axis], window[axis + 2]) for window in windows})
        assert spans[0][0] == 0 and spans[-1][1] == side
        assert all(end - start == min(side, tiling.tile) for start, end in spans)
        shared = [end - start for (_, end), (start, _) in pairwise(spans)]
        assert all(each >= int(tiling.overlap * tiling.tile) for each in shared)
    assert len(set(windows)) == len(windows)
    assert (len(windows) == 1) == (max(size) <= tiling.tile)


@pytest.mark.parametrize(("values", "message"), [
    ({"tile": 0}, "tile is 0; give a whole number of pixels from 32"),
    ({"tile": 512.5}, r"tile is 512\.5"),
    ({"overlap": 1.0}, r"overlap is 1\.0; give a fraction of the tile in 0\.\.0\.9"),
    ({"overlap": -0.1}, r"overlap is -0\.1"),
    ({"overlap": float("nan")}, "overlap is nan"),
])  # fmt: skip
def test_impossible_tiles_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tiling(**values)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_object_of_a_large_picture_is_found_once(seed: int) -> None:
    """Objects of 20 to 1,960 pixels: within a tile, across seams, and larger than a tile."""
    counts = {1400: 3, 500: 15, 120: 120, 30: 250}
    scene = ColoredObjects((4000, 6000), counts, seed)
    detector = ColorDetector(noise=0.02, seed=seed)
    found = detect_tiled(in_arrays(detector), scene.image, Tiling(1024, 0.2), batch_size=8)
    assert scene.count(found) == (sum(counts.values()), 0)
    assert (np.diff(found["scores"]) <= 0).all()
    (alone,) = in_arrays(detector)([scene.image])
    assert scene.count(alone)[0] < 200, "the whole image is too small for the network"
    assert detector.batches == [1, 8, 8, 8, 8, 8, 1]


def test_exact_boxes_stay_exact() -> None:
    scene = ColoredObjects((1000, 1500), {400: 3, 60: 30}, seed=0)
    found = detect_tiled(in_arrays(ColorDetector()), scene.image, Tiling(300, 0.25))
    assert scene.count(found) == (33, 0)
    order = [tuple(map(int, box)) for box in found["boxes"].tolist()]
    assert sorted(order) == sorted(map(tuple, scene.boxes.tolist()))


def test_image_of_one_tile_is_detected_once() -> None:
    scene = ColoredObjects((300, 400), {60: 4}, seed=0)
    detector = ColorDetector()
    found = detect_tiled(in_arrays(detector), scene.image, Tiling(512))
    assert detector.batches == [1] and scene.count(found) == (4, 0)


def test_image_without_objects() -> None:
    found = detect_tiled(
        in_arrays(ColorDetector(masks=True)), np.zeros((200, 300, 3), np.uint8), Tiling(128)
    )
    assert found["boxes"].shape == (0, 4) and found["box_masks"].shape[0] == 0
    assert found["scores"].shape == found["labels"].shape == (0,)


def test_masks_move_with_their_boxes_and_join_across_seams() -> None:
    scene = ColoredObjects((400, 700), {130: 5, 40: 8}, seed=2)
    found = detect_tiled(in_arrays(ColorDetector(masks=True)), scene.image, Tiling(160, 0.2))
    assert scene.count(found) == (13, 0)
    size = (400, 700)
    masks = paste_grids(found["box_masks"], found["boxes"], size)
    for mask, box in zip(masks, found["boxes"].round().astype(int).tolist(), strict=True):
        left, top, right, bottom = box
        own = scene.image[..., 0] == scene.image[(top + bottom) // 2, (left + right) // 2, 0]
        shared, union = (mask & own).sum(), (mask | own).sum()
        assert shared / union > 0.95, box
