"""What is wrong with the image files of a data set, and which of them stand in several splits."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from centernet2.data.check.annotations import Finding, Place, finding, size_of
from centernet2.data.image import ORIENTATION, ImageError, read_image

Record = dict[str, Any]
MISSING = "missing"
MAX_BITS = 3  # of 64 that may differ between two files of the same picture
MAX_DIFFERENCE = 12.0  # grey levels between their thumbnails


class Looked(NamedTuple):
    """What one image file is like."""

    problem: str  # why it cannot be used; empty where it can
    size: tuple[int, int] = (0, 0)  # height, width, upright
    is_rotated: bool = False  # by its EXIF orientation
    mode: str = "RGB"
    thumbnail: NDArray[np.float32] | None = None  # [8, 9] grey


def look_at(records: Sequence[Record], folder: Path) -> Iterator[tuple[Record, Looked]]:
    """Reads every image of a split as training would."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        yield from zip(
            records,
            pool.map(_look, (folder / str(r.get("file_name")) for r in records)),
            strict=True,
        )


def _look(path: Path) -> Looked:
    if not path.is_file():
        return Looked(MISSING)
    try:
        image = read_image(path)
        with Image.open(path) as file:
            rotated, mode = file.getexif().get(ORIENTATION, 1) > 1, file.mode
    except (ImageError, OSError, SyntaxError) as error:
        return Looked(str(error))
    return Looked("", (image.shape[1], image.shape[2]), rotated, mode, thumbnail(image))


def thumbnail(image: Tensor) -> NDArray[np.float32]:
    """An image (uint8 [3, H, W]) as 8 x 9 grey means."""
    small: NDArray[np.float32] = adaptive_avg_pool2d(
        image.float().mean(dim=0, keepdim=True), (8, 9)
    )[0].numpy()
    return small


def check_images(looked: Sequence[tuple[Record, Looked]], split: str) -> list[Finding]:
    """The faults of the image files of one split."""
    missing: list[Place] = []
    broken: list[Place] = []
    wrong: list[Place] = []
    rotated: list[Place] = []
    odd: list[Place] = []
    for record, seen in looked:
        name = str(record.get("file_name"))
        if seen.problem == MISSING:
            missing.append(Place(name))
            continue
        if seen.problem:
            broken.append(Place(seen.problem))
            continue
        width, height = size_of(record) or (0, 0)
        if seen.size != (height, width):
            wrong.append(
                Place(
                    f"{name}: {seen.size[1]} x {seen.size[0]}, annotated as {width:g} x {height:g}",
                    name,
                )
            )
        if seen.is_rotated:
            rotated.append(Place(name, name))
        if seen.mode not in ("RGB", "L"):
            odd.append(Place(f"{name}: {seen.mode}"))
    skipped = "another image is taken in its place; more than 5 % stop the training"
    found = [
        finding(split, "missing images", "drops", skipped, missing),
        finding(split, "unreadable images", "drops", skipped, broken),
        finding(split, "images of another size than annotated", "drops", skipped, wrong),
        finding(
            split,
            "images turned by EXIF",
            "repairs",
            "they are turned upright; boxes must be so too",
            rotated,
        ),
        finding(split, "images that are not 8-bit grey or RGB", "note", "they are converted", odd),
    ]
    return [each for each in found if each is not None]


def check_across(looked: Mapping[str, Sequence[tuple[Record, Looked]]]) -> list[Finding]:
    """The pictures that stand in several splits, by a perceptual hash (differences of neighbouring grey means)."""
    usable = {
        split: [pair for pair in pairs if pair[1].thumbnail is not None]
        for split, pairs in looked.items()
    }
    splits = [split for split, pairs in usable.items() if pairs]
    found = []
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            places = list(_same(usable[first], usable[second]))
            kind = f"pictures that are in {first} too"
            found.append(
                finding(
                    second,
                    kind,
                    "keeps",
                    "figures on them are too good; remove one of each",
                    places,
                )
            )
    return [each for each in found if each is not None]


def _same(
    first: Sequence[tuple[Record, Looked]], second: Sequence[tuple[Record, Looked]]
) -> Iterator[Place]:
    thumbnails = [
        np.stack([seen.thumbnail for _, seen in pairs if seen.thumbnail is not None])
        for pairs in (first, second)
    ]
    hashes = [_hashes(each) for each in thumbnails]
    for row, value in enumerate(hashes[1]):
        near = np.flatnonzero(np.bitwise_count(hashes[0] ^ value) <= MAX_BITS)
        same = near[
            np.abs(thumbnails[0][near] - thumbnails[1][row]).max(axis=(1, 2), initial=0)
            <= MAX_DIFFERENCE
        ]
        if len(same):
            name = str(second[row][0].get("file_name"))
            yield Place(f"{name} is {first[same[0]][0].get('file_name')}", name)


def _hashes(thumbnails: NDArray[np.float32]) -> NDArray[np.uint64]:  # [I]
    bits = (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
