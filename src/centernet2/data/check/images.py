"""Find problems of image files, and images that are in several splits."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from centernet2.data.check.usable_records import recorded_size
from centernet2.data.findings import Finding, ProblemExample, make_finding
from centernet2.data.image_check import (
    CheckedImage,
    ImageFacts,
    decoded_facts,
    header_facts,
    image_findings,
    in_threads,
)
from centernet2.data.readers.json_records import Record

MAX_BITS = 3  # of 64 bits, by which the hashes of two copies of an image may differ
COMPARED_AT_ONCE = 64  # thumbnails that are compared at once
MAX_DIFFERENCE = 12.0  # gray levels, by which their thumbnails may differ


def read_images(records: Sequence[Record], folder: Path) -> Iterator[tuple[Record, ImageFacts]]:
    """Read all images of a split as training would."""
    paths = [folder / str(record.get("file_name")) for record in records]
    yield from zip(records, in_threads(_read_facts, paths, f"images in {folder}"), strict=True)


def _read_facts(path: Path) -> ImageFacts:
    facts = header_facts(path)
    return facts if facts.problem else decoded_facts(path, facts, thumbnail)


def thumbnail(image: Tensor) -> NDArray[np.float32]:  # [8, 9]
    """Average the gray values of an image (uint8 [3, H, W]) in a grid of 8 x 9."""
    gray = image.float().mean(dim=0, keepdim=True)
    small: NDArray[np.float32] = adaptive_avg_pool2d(gray, (8, 9))[0].numpy()
    return small


def check_images(images: Sequence[tuple[Record, ImageFacts]], split: str) -> list[Finding]:
    """Find the problems of the image files of one split."""
    checked = []
    for record, facts in images:
        width, height = recorded_size(record) or (0, 0)
        checked.append(CheckedImage(str(record.get("file_name")), (height, width), facts))
    return image_findings(split, checked, len(checked))


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
