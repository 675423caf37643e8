"""Equal images in two splits: the findings, and the comparisons they take."""

import numpy as np
import pytest
from numpy.typing import NDArray

from centernet2.data.check.images import MAX_BITS, _near, check_across
from centernet2.data.image_check import ImageFacts

Images = tuple[list[str], list[ImageFacts]]
CHECKER = np.indices((8, 9)).sum(axis=0) % 2 * np.float32(100)  # has a clear hash


def images(thumbnails: NDArray[np.float32], prefix: str) -> Images:
    names = [f"{prefix}{row}" for row in range(len(thumbnails))]
    return names, [ImageFacts("", thumbnail=small.astype(np.float32)) for small in thumbnails]


def test_first_equal_image_is_found() -> None:
    """As by comparing each pair: brightness steps of 8, of which one alone is tolerated."""
    random = np.random.default_rng(0)
    steps = [CHECKER + 8 * random.integers(0, 40, (count, 1, 1)) for count in (300, 100)]
    train, val = (images(each, name) for each, name in zip(steps, ("t", "v"), strict=True))
    expected = []
    for row, small in enumerate(steps[1]):
        same = np.flatnonzero(np.abs(steps[0] - small).max(axis=(1, 2)) <= 12)
        expected += [f"v{row} is t{same[0]}"] if len(same) else []
    (finding,) = check_across({"train": train, "val": val})
    assert finding.total == len(expected)
    assert [example.text for example in finding.examples] == expected[:5]


@pytest.mark.parametrize("noise", [0, 1])
def test_equal_images_take_few_comparisons(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    count, compared = 600, 0
    absolute = np.abs

    def count_values(x: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal compared
        compared += x.size // 72
        return absolute(x)

    monkeypatch.setattr(np, "abs", count_values)
    random = np.random.default_rng(0)
    train, val = (
        images(CHECKER + noise * random.random((count, 8, 9)), name) for name in ("t", "v")
    )
    (finding,) = check_across({"train": train, "val": val})
    assert finding.total == count and {e.text[-2:] for e in finding.examples} == {"t0"}
    assert compared < 100 * count


def test_near_hashes_are_those_that_differ_in_few_bits() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 200, np.uint64)
    flipped = rng.integers(0, 64, (200, MAX_BITS + 1), np.uint64)
    others = hashes.copy()
    for bits in flipped.T[:MAX_BITS]:
        others ^= np.uint64(1) << bits
    others[::2] ^= np.uint64(1) << flipped[::2, -1]  # mostly one too many
    different = np.bitwise_count(hashes[None] ^ others[:, None])
    assert 0 < (different <= MAX_BITS).sum() < len(hashes)
    for near, row in zip(_near(hashes, others), different, strict=True):
        assert near.tolist() == np.flatnonzero(row <= MAX_BITS).tolist()
