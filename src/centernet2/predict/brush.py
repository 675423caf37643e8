"""Masks of Label Studio's brush: the run lengths of rle-pack (thi.ng/umbrella)."""

from collections.abc import Iterator

import numpy as np

from centernet2.structures import BoolArray

CHANNELS, WORD_BITS = 4, 8  # of a pixel: red, green, blue, alpha
OPAQUE = 255
SIZES = (4, 8, 12, 16)  # bits of the length of a run; each run names one of them


def pack_mask(mask: BoolArray) -> list[int]:
    """Return the bytes of a mask [H, W], all of whose channels are 0 or 255.

    A stream of bits: number of words (32), bits of a word less 1 (5), the four sizes less 1 (4
    each); then of each run a 1, the index of a size (2), the length less 1, and the word.
    """
    head = [
        f"{mask.size * CHANNELS:032b}{WORD_BITS - 1:05b}",
        *(f"{each - 1:04b}" for each in SIZES),
    ]
    text = "".join([*head, *_runs(mask)])
    text += "0" * (-len(text) % WORD_BITS)
    return [*int(text, 2).to_bytes(len(text) // WORD_BITS, "big")]


def _runs(mask: BoolArray) -> Iterator[str]:
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = CHANNELS * np.diff(starts, append=flat.size)
    for value, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        while length:
            part = min(length, 1 << SIZES[-1])
            index = next(i for i, size in enumerate(SIZES) if part <= 1 << size)
            word = OPAQUE if value else 0
            yield f"1{index:02b}{part - 1:0{SIZES[index]}b}{word:0{WORD_BITS}b}"
            length -= part
