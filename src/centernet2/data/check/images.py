"""Find problems of image files, and images that are in several splits."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from centernet2.data.check.usable_records import recorded_size
from centernet2.data.findings import Finding, ProblemExample, make_finding
from centernet2.data.image import ImageError, orientation_of, read_image
from centernet2.data.readers.json_records import Record

MISSING_FILE = "missing"  # problem of a file that does not exist
MAX_BITS = 3  # of 64 bits, by which the hashes of two copies of an image may differ
COMPARED_AT_ONCE = 64  # thumbnails that are compared at once
MAX_DIFFERENCE = 12.0  # gray levels, by which their thumbnails may differ


class ImageFacts(NamedTuple):
    """Properties of one image file that are checked."""

    problem: str  # why it cannot be used; empty if it can
    size: tuple[int, int] = (0, 0)  # height, width, upright
    is_rotated: bool = False  # by its EXIF orientation
    mode: str = "RGB"
    thumbnail: NDArray[np.float32] | None = None  # [8, 9] gray


def read_images(records: Sequence[Record], folder: Path) -> Iterator[tuple[Record, ImageFacts]]:
    """Read all images of a split as training would."""
    paths = [folder / str(record.get("file_name")) for record in records]
    with ThreadPoolExecutor(cpu_count()) as pool:
        yield from zip(records, pool.map(_read_facts, paths), strict=True)


def _read_facts(path: Path) -> ImageFacts:
    if not path.is_file():
        return ImageFacts(MISSING_FILE)
    try:
        image = read_image(path)
        with Image.open(path) as file:
            rotated, mode = orientation_of(file) > 1, file.mode
    except (ImageError, OSError, SyntaxError) as error:
        return ImageFacts(str(error))
    return ImageFacts("", (image.shape[1], image.shape[2]), rotated, mode, thumbnail(image))


def thumbnail(image: Tensor) -> NDArray[np.float32]:  # [8, 9]
    """Average the gray values of an image (uint8 [3, H, W]) in a grid of 8 x 9."""
    gray = image.float().mean(dim=0, keepdim=True)
    small: NDArray[np.float32] = adaptive_avg_pool2d(gray, (8, 9))[0].numpy()
    return small


def check_images(images: Sequence[tuple[Record, ImageFacts]], split: str) -> list[Finding]:
    """Find the problems of the image files of one split."""
    missing: list[ProblemExample] = []
    broken: list[ProblemExample] = []
    resized: list[ProblemExample] = []
    rotated: list[ProblemExample] = []
    converted: list[ProblemExample] = []
    for record, facts in images:
        name = str(record.get("file_name"))
        if facts.problem == MISSING_FILE:
            missing.append(ProblemExample(name))
            continue
        if facts.problem:
            broken.append(ProblemExample(facts.problem))
            continue
        width, height = recorded_size(record) or (0, 0)
        if facts.size != (height, width):
            size = f"{facts.size[1]} x {facts.size[0]}"
            text = f"{name}: {size}, annotated as {width:g} x {height:g}"
            resized.append(ProblemExample(text, name))
        if facts.is_rotated:
            rotated.append(ProblemExample(name, name))
        if facts.mode not in ("RGB", "L"):
            converted.append(ProblemExample(f"{name}: {facts.mode}"))
    replaced = "another image is taken in its place; more than 5 % stop the training run"
    findings = [
        make_finding(split, "missing images", "drops", replaced, missing),
        make_finding(split, "unreadable images", "drops", replaced, broken),
        make_finding(split, "images of another size than annotated", "drops", replaced, resized),
        make_finding(split, "images rotated by EXIF", "repairs",
                     "they are rotated upright, and boxes must match", rotated),
        make_finding(split, "images that are not 8-bit grayscale or RGB", "note",
                     "they are converted", converted),
    ]  # fmt: skip
    return [finding for finding in findings if finding is not None]


def check_across(splits: Mapping[str, Sequence[tuple[Record, ImageFacts]]]) -> list[Finding]:
    """Find images that are in several splits.

    They are compared by a perceptual hash: the signs of the differences between neighbors in their
    thumbnails.
    """
    usable = {
        split: [pair for pair in pairs if pair[1].thumbnail is not None]
        for split, pairs in splits.items()
    }
    names = [split for split, pairs in usable.items() if pairs]
    advice = "metrics on them are too good; remove one of each"
    findings = [
        make_finding(
            second, f"images that are also in {first}", "keeps", advice,
            _same_images(usable[first], usable[second]),
        )
        for index, first in enumerate(names)
        for second in names[index + 1 :]
    ]  # fmt: skip
    return [finding for finding in findings if finding is not None]


def _same_images(
    first: Sequence[tuple[Record, ImageFacts]], second: Sequence[tuple[Record, ImageFacts]]
) -> Iterator[ProblemExample]:
    thumbnails = [
        np.stack([facts.thumbnail for _, facts in pairs if facts.thumbnail is not None])
        for pairs in (first, second)
    ]
    # many images may be equal: each thumbnail is compared once
    distinct: dict[bytes, int] = {}
    for row, small in enumerate(thumbnails[0]):
        distinct.setdefault(small.tobytes(), row)
    rows = np.fromiter(distinct.values(), np.int64)
    candidates = thumbnails[0][rows]
    hashes = _hashes(candidates)
    matches: dict[bytes, int | None] = {}
    for (record, _), small, value in zip(
        second, thumbnails[1], _hashes(thumbnails[1]), strict=True
    ):
        content = small.tobytes()
        if content not in matches:
            near = np.flatnonzero(np.bitwise_count(hashes ^ value) <= MAX_BITS)
            matches[content] = _first_same(candidates, near, small)
        match = matches[content]
        if match is not None:
            name = str(record.get("file_name"))
            yield ProblemExample(f"{name} is {first[rows[match]][0].get('file_name')}", name)


def _first_same(
    candidates: NDArray[np.float32], near: NDArray[np.int64], small: NDArray[np.float32]
) -> int | None:
    """Return the first of the indices `near` whose thumbnail is the same.

    It compares in blocks, to stop early.
    """
    for start in range(0, len(near), COMPARED_AT_ONCE):
        block = near[start : start + COMPARED_AT_ONCE]
        differences = np.abs(candidates[block] - small)
        same = block[differences.max(axis=(1, 2)) <= MAX_DIFFERENCE]
        if len(same):
            return int(same[0])
    return None


def _hashes(thumbnails: NDArray[np.float32]) -> NDArray[np.uint64]:  # [I]
    bits = (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
