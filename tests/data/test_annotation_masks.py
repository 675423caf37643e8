"""Segmentations of every form against pycocotools, packed and drawn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from centernet2.data.annotation_masks import (
    NO_MASK,
    NO_PIXEL,
    POLYGONS,
    RUN_LENGTHS,
    draw_objects,
    pack_masks,
)
from centernet2.data.dataset import (
    DetectionDataset,
    concatenate,
    require_masks,
    without_empty_images,
)
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.segmentations import read_segmentation
from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
)

oracle = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle of these tests")
SIZE = (48, 64)


def random_polygons(rng: np.random.Generator) -> list[list[float]]:
    """One to three polygons, partly outside of the image, with COCO's two decimals."""
    corners = [2 * int(rng.integers(3, 12)) for _ in range(int(rng.integers(1, 4)))]
    return [rng.uniform(-10, 70, count).round(2).tolist() for count in corners]


def drawn(segmentation: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The same mask by pycocotools."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
        return np.asarray(oracle.decode(oracle.frPyObjects(segmentation, *size)), bool)
    if isinstance(segmentation, dict):
        return np.asarray(oracle.decode(segmentation), bool)
    return np.asarray(oracle.decode(oracle.merge(oracle.frPyObjects(segmentation, *size))), bool)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def forms() -> list[Any]:
    rng = np.random.default_rng(0)
    bitmap = rng.random(SIZE) > 0.6
    compressed = oracle.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    compressed["counts"] = compressed["counts"].decode()
    return [*(random_polygons(rng) for _ in range(40)), compressed, uncompressed(bitmap)]


def test_all_forms_equal_pycocotools() -> None:
    packed = pack_masks(*zip(*(read_segmentation(form, SIZE)[:2] for form in forms()), strict=True))
    assert packed.kinds.tolist() == [POLYGONS] * 40 + [RUN_LENGTHS] * 2
    for i, form in enumerate(forms()):
        assert np.array_equal(packed.bitmap(i, SIZE).numpy(), drawn(form)), form
        again = read_segmentation(packed.segmentation(i, SIZE), SIZE)
        assert again == read_segmentation(form, SIZE)
    moved = packed.take(np.array([41, 3]))
    assert torch.equal(moved.bitmap(0, SIZE), packed.bitmap(41, SIZE))
    assert torch.equal(moved.bitmap(1, SIZE), packed.bitmap(3, SIZE))


def test_bitmap_of_rows() -> None:
    bitmap = np.random.default_rng(1).random(SIZE) > 0.5
    kind, content, *_ = read_segmentation(bitmap.astype(int).tolist(), SIZE)
    assert np.array_equal(pack_masks([kind], [content]).bitmap(0, SIZE).numpy(), bitmap)


@pytest.mark.parametrize("segmentation", [None, [], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], {}])
def test_segmentation_without_area(segmentation: Any) -> None:
    kind, content, *_ = read_segmentation(segmentation, SIZE)
    packed = pack_masks([kind], [content])
    assert (
        kind == NO_MASK
        and not packed.bitmap(0, SIZE).any()
        and packed.segmentation(0, SIZE) is None
    )


@pytest.mark.parametrize(("segmentation", "message"), [
    ("4 5 6", "neither a list of polygons"),
    ([[1, 2, 3, 4, 5, 6], 7], "holds something else"),
    ([[1, 2, 3, 4, 5, "x"]], "not made of finite numbers"),
    ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
    ({"size": [4, 4], "counts": "04<"}, r"size \[4, 4\], but its image is \[48, 64\]"),
    ({"size": [48, 64], "counts": [10, 20]}, "do not add up to the 3072 pixels"),
    ({"size": [48, 64], "counts": "z$"}, "damaged"),
    ({"size": [48, 64], "counts": "04<"}, "do not add up"),
    ({"size": [48, 64]}, "neither a list nor a string"),
    ({"counts": [0, 3072]}, "size None"),
    ({"size": [48, 64], "counts": [-1, 3073]}, "do not add up"),
])  # fmt: skip
def test_wrong_segmentations_are_named(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_segmentation(segmentation, SIZE)


@pytest.mark.parametrize(("segmentation", "kind", "repair"), [
    ([1, 1, 9, 1, 9, 9], POLYGONS, "flat"),
    ([["1", 1, 9, 1, 9, "9"]], POLYGONS, "text"),
    ([[1, 1, 9, 1, 9, 9], [1, 2, 3, 4]], POLYGONS, "parts"),
    ([[1, 1, 9, 1, 9, 9, 4]], NO_MASK, "parts"),
    ([[1, 1, 40, 40, 9, 9]], POLYGONS | NO_PIXEL, ""),
    ([[1, 1, 1, 1, 1, 1]], POLYGONS | NO_PIXEL, ""),
    ([[-9, -9, -1, -9, -1, -1]], POLYGONS | NO_PIXEL, ""),
    ([[5, 5, 5, 5, 5, 5], [1, 1, 9, 1, 9, 9]], POLYGONS, ""),
    ({"size": [48.0, 64.0], "counts": [0, 3072]}, RUN_LENGTHS, ""),
    ({"size": ["48", "64"], "counts": ["0", "3072"]}, RUN_LENGTHS, "text"),
    ({"size": [48, 64], "counts": [3072]}, RUN_LENGTHS | NO_PIXEL, ""),
    ({"size": [48, 64], "counts": "PP3"}, RUN_LENGTHS | NO_PIXEL, ""),
    ({"size": [48, 64], "counts": "b'PP3'"}, RUN_LENGTHS | NO_PIXEL, "bytes"),
])  # fmt: skip
def test_forms_of_other_programs(segmentation: Any, kind: int, repair: str) -> None:
    read = read_segmentation(segmentation, SIZE)
    assert (read.kind, read.repair) == (kind, repair)
    drawn_here = pack_masks([read.kind], [read.content]).bitmap(0, SIZE)
    assert bool(drawn_here.any()) == (kind in (POLYGONS, RUN_LENGTHS))


def test_run_lengths_that_were_written_as_bytes() -> None:
    uncompressed = {"size": list(SIZE), "counts": [44, 3028]}
    counts = oracle.frPyObjects(uncompressed, *SIZE)["counts"]
    assert "\\\\" in str(counts)  # a backslash, which the text of bytes doubles
    read = read_segmentation({"size": list(SIZE), "counts": str(counts)}, SIZE)
    assert read.content == counts and read.repair == "bytes"


def test_thin_polygons_of_large_images_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("centernet2.data.annotation_masks._decode", None)
    read = read_segmentation([[1, 1, 40, 40, 9, 9]], (40000, 50000))
    assert read.kind == POLYGONS | NO_PIXEL


@pytest.mark.parametrize("digits", [0, 2, 3, 4, 17])
def test_every_digit_of_a_polygon_is_kept(digits: int) -> None:
    points = np.random.default_rng(digits).uniform(-10, 70, 24).round(digits).tolist()
    kind, content, *_ = read_segmentation([points[:10], points[10:]], SIZE)
    packed = pack_masks([kind], [content])
    assert packed.segmentation(0, SIZE) == [points[:10], points[10:]]
    assert len(content) == 12 + 24 * (4 if digits <= 3 else 8)


def test_masks_without_a_pixel_are_left_out(
    content: dict[str, Any], write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    for record in content["annotations"]:
        record["segmentation"] = [[4, 6, 24, 6, 24, 16, 4, 16]]
    content["annotations"][2]["segmentation"] = {"size": [48, 64], "counts": [48 * 64]}
    path = write(content)
    dataset = load_coco(path, path.parent, name="small", masks=True)
    assert "masks without a pixel: 1 dropped" in caplog.text
    assert dataset.target(2)["labels"].tolist() == [1] and dataset.segmentation(2)["counts"]


@pytest.fixture
def dataset(content: dict[str, Any], write: Callable[..., Path]) -> DetectionDataset:
    """Wide image with a polygon, run lengths and a crowd; images are in another order."""
    rng = np.random.default_rng(2)
    crowd = uncompressed(rng.random((48, 64)) > 0.5)
    segmentations = {
        1: [[4, 6, 24, 6, 24, 16, 4, 16]],
        2: uncompressed(rng.random((60, 40)) > 0.5),
        4: crowd,
    }
    segmentations[3] = forms()[40]
    for record in content["annotations"]:
        record["segmentation"] = segmentations[record["id"]]
    path = write(content)
    return load_coco(path, path.parent.parent / "images", name="small", masks=True)


def test_masks_belong_to_their_boxes(dataset: DetectionDataset, content: dict[str, Any]) -> None:
    target = dataset.target(2)  # image 30: its crowd does not count
    assert len(target["boxes"]) == 2
    for row, annotation in enumerate(
        a for a in content["annotations"] if a["image_id"] == 30 and not a["iscrowd"]
    ):
        assert np.array_equal(target["masks"][row].numpy(), drawn(annotation["segmentation"]))
    assert dataset.target(1)["polygons"] == [] and len(dataset.target(0)["boxes"]) == 0
    crowd = int(np.flatnonzero(dataset.crowd)[0])  # of image 10
    assert dataset.segmentation(crowd)["size"] == [60, 40]


def test_subset_and_join_keep_masks(dataset: DetectionDataset) -> None:
    joined = concatenate([dataset.subset(np.array([2])), dataset.subset(np.array([1, 2]))])
    for i in (0, 2):
        assert torch.equal(joined.target(i)["masks"], dataset.target(2)["masks"])
    assert (
        concatenate([dataset, DetectionDataset(**{**vars(dataset), "masks": None})]).masks is None
    )


def test_targets_leave_out_objects_without_mask(
    content: dict[str, Any], write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    content["annotations"][0]["segmentation"] = [[4, 6, 24, 6, 24, 16, 4, 16]]
    path = write(content)
    dataset = load_coco(path, path.parent.parent / "images", name="small", masks=True)
    message = "objects without a mask: 3 dropped; add their masks (first: annotation 2 in tall.png"
    assert message in caplog.text
    target = dataset.target(2)
    assert len(target["boxes"]) == len(target["polygons"]) == 1
    assert without_empty_images(dataset).image_ids.tolist() == [30]
    require_masks(dataset)
    with pytest.raises(ValueError, match="no object has a mask"):
        require_masks(load_coco(path, path.parent, name="small"))


def test_wrong_segmentation_is_named(content: dict[str, Any], write: Callable[..., Path]) -> None:
    content["annotations"][2]["segmentation"] = {"size": [1, 1], "counts": "1"}
    path = write(content)
    with pytest.raises(
        ValueError,
        match=r"train.json: masks .*: annotation 3 in wide.png has run lengths of size \[1, 1\]",
    ):
        load_coco(path, path.parent, name="small", masks=True)
    load_coco(path, path.parent, name="small")  # without masks it does not matter


@pytest.mark.parametrize("step", [
    ResizeShortestEdge(lengths=(37, 91), max_size=400, sampling="choice"),
    EfficientDetResizeCrop(size=50, scale_range=(0.8, 2.0)),
    RandomCrop(kind="relative_range", size=(0.5, 0.5)),
    RandomFlip(direction="horizontal", probability=1),
    RandomFlip(direction="vertical", probability=1),
])  # fmt: skip
def test_polygons_and_bitmaps_move_alike(step: Any) -> None:
    angle, radius = np.arange(9) * 0.7, np.random.default_rng(3).uniform(12, 22, 9)
    polygon = torch.tensor(
        np.stack([32 + radius * np.cos(angle), 24 + radius * np.sin(angle)], axis=1)
    )
    low, high = polygon.amin(0), polygon.amax(0)
    plain = {"boxes": torch.cat([low, high])[None].float(), "labels": torch.tensor([1])}
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    for seed in range(10):
        _, smooth = TrainTransform(steps=(step,))(
            image, {**plain, "polygons": [[polygon]]}, Generator().manual_seed(seed)
        )
        bitmap = {**plain, "masks": draw_objects([[polygon]], SIZE)}
        moved, rough = TrainTransform(steps=(step,))(image, bitmap, Generator().manual_seed(seed))
        assert "polygons" not in smooth and smooth["masks"].shape == (1, *moved.shape[1:])
        both = (smooth["masks"] & rough["masks"]).sum() / (smooth["masks"] | rough["masks"]).sum()
        assert both > 0.85


def test_cropped_object_is_dropped_with_its_mask() -> None:
    triangles = [
        torch.tensor(t, dtype=torch.float64)
        for t in ([[0, 0], [9, 0], [0, 9]], [[40, 30], [60, 30], [50, 45]])
    ]
    target = {
        "boxes": torch.tensor([[0.0, 0, 9, 9], [40, 30, 60, 45]]),
        "labels": torch.tensor([3, 5]),
        "polygons": [[t] for t in triangles],
    }
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    whole = TrainTransform(steps=())(image, target, Generator())[1]
    assert whole["masks"].sum(dim=(1, 2)).tolist() == [
        drawn([t.flatten().tolist()]).sum() for t in triangles
    ]
    # moved so far to the left that only the second one is left
    moved = {**target, "boxes": target["boxes"] - 20, "polygons": [[t - 20] for t in triangles]}
    rest = TrainTransform(steps=())(image, moved, Generator())[1]
    assert (
        rest["labels"].tolist() == [5] and rest["masks"].shape == (1, *SIZE) and rest["masks"].any()
    )
    # the box reaches into the image, the object itself does not
    corner = {
        **target,
        "boxes": target["boxes"][:1] - 5,
        "labels": target["labels"][:1],
        "polygons": [[triangles[0] - 5]],
    }
    assert len(TrainTransform(steps=())(image, corner, Generator())[1]["boxes"]) == 0


def test_masks_of_real_images(shared: Path) -> None:
    annotations = shared / "data/coco_tiny/coco2017/annotations/instances_val2017.json"
    dataset = load_coco(annotations, annotations.parent, name="coco_tiny", masks=True)
    assert dataset.masks is not None
    content = json.loads(annotations.read_text())
    for i in range(len(dataset)):
        size = dataset.size(i)
        of_image = [
            a["segmentation"]
            for a in content["annotations"]
            if a["image_id"] == dataset.image_ids[i]
        ]
        for row, segmentation in zip(range(*dataset.offsets[i : i + 2]), of_image, strict=True):
            assert np.array_equal(dataset.masks.bitmap(row, size), drawn(segmentation, size))
