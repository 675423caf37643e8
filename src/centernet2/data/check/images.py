"""Find problems of image files, and images that are in several splits."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import Finding, FindingLog, ProblemExample
from centernet2.data.image_check import (
    ImageFacts,
    checked_image,
    decoded_facts,
    header_facts,
    image_findings,
    in_threads,
)
from centernet2.structures import IntArray, Pixels

MAX_BITS = 3  # of 64 bits, by which the hashes of two copies of an image may differ
COMPARED_AT_ONCE = 64  # thumbnails that are compared at once
Thumbnail = NDArray[np.float32]  # [8, 9] gray; also several of them
MAX_DIFFERENCE = 12.0  # gray levels, by which their thumbnails may differ


def read_image_files(dataset: DetectionDataset) -> Iterator[ImageFacts]:
    """Read all images of a split as training would."""
    paths = [dataset.image_path(i) for i in range(len(dataset))]
    return in_threads(_read_facts, paths, f"images in {dataset.folder}")


def _read_facts(path: Path) -> ImageFacts:
    facts = header_facts(path)
    return facts if facts.problem else decoded_facts(path, facts, thumbnail)


def thumbnail(pixels: Pixels) -> Thumbnail:  # [8, 9]
    """Average the gray values of an image in a grid of 8 x 9."""
    gray = torch.from_numpy(pixels).float().mean(dim=2)[None]
    small: Thumbnail = adaptive_avg_pool2d(gray, (8, 9))[0].numpy()
    return small


def check_image_files(
    dataset: DetectionDataset, images: Sequence[ImageFacts], split: str
) -> list[Finding]:
    """Find the problems of the image files of one split."""
    checked = [checked_image(dataset, i, facts) for i, facts in enumerate(images)]
    return image_findings(split, checked, len(checked))


def check_across(splits: Mapping[str, tuple[Sequence[str], Sequence[ImageFacts]]]) -> list[Finding]:
    """Find images that are in several splits, given their file names and properties.

    They are compared by a perceptual hash: the signs of the differences between neighbors in their
    thumbnails.
    """
    usable = {
        split: [
            (name, facts.thumbnail)
            for name, facts in zip(names, images, strict=True)
            if facts.thumbnail is not None
        ]
        for split, (names, images) in splits.items()
    }
    findings: list[Finding] = []
    for first, second in combinations([split for split, pairs in usable.items() if pairs], 2):
        log = FindingLog(second)
        log.add(
            f"images that are also in {first}", "keeps",
            "metrics on them are too good; remove one of each",
            list(_same_images(usable[first], usable[second])),
            lambda names: ProblemExample(f"{names[0]} is {names[1]}", names[0]),
        )  # fmt: skip
        findings += log.findings
    return findings


def _same_images(
    first: Sequence[tuple[str, Thumbnail]], second: Sequence[tuple[str, Thumbnail]]
) -> Iterator[tuple[str, str]]:
    """Yield the names (second, first) of each second image that is also a first one."""
    thumbnails = [np.stack([small for _, small in pairs]) for pairs in (first, second)]
    # many images may be equal: each thumbnail is compared once
    distinct: dict[bytes, int] = {}
    for row, small in enumerate(thumbnails[0]):
        distinct.setdefault(small.tobytes(), row)
    rows = np.fromiter(distinct.values(), np.int64)
    candidates = thumbnails[0][rows]
    hashes = _hashes(candidates)
    matches: dict[bytes, int | None] = {}
    for (name, small), near in zip(second, _near(hashes, _hashes(thumbnails[1])), strict=True):
        content = small.tobytes()
        if content not in matches:
            matches[content] = _first_same(candidates, near, small)
        match = matches[content]
        if match is not None:
            yield name, first[rows[match]][0]


def _near(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[IntArray]:
    """Yield for each of `others` the rows of hashes that differ in at most MAX_BITS.

    Two such hashes agree in one of their four parts, as there are more parts than bits that may
    differ. Only hashes that share a part are compared, so the time grows with the number of images.
    """
    tables = []
    for part, wanted in zip(_parts(hashes), _parts(others), strict=True):
        order = part.argsort(kind="stable")
        first, end = (part[order].searchsorted(wanted, side) for side in ("left", "right"))
        tables.append((order, first, end))
    for i, value in enumerate(others):
        rows = np.unique(np.concatenate([order[first[i] : end[i]] for order, first, end in tables]))
        yield rows[np.bitwise_count(hashes[rows] ^ value) <= MAX_BITS]


def _parts(hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:  # [4, I]
    parts: NDArray[np.uint16] = hashes.view(np.uint16).reshape(-1, 4).T
    return parts


def _first_same(candidates: Thumbnail, near: IntArray, small: Thumbnail) -> int | None:
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


def _hashes(thumbnails: Thumbnail) -> NDArray[np.uint64]:  # [I]
    bits = (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(len(thumbnails), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
