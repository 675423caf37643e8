"""What a worker process sends: all tensors of a batch in one.

PyTorch shares each tensor of a worker by a file descriptor, for which the processes exchange
several messages. A batch has dozens of small tensors, and on a busy machine the training would wait
for their messages longer than for the images.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

LEAST_BYTES = 1 << 14  # of a tensor that is sent in the shared one; others are part of the pickle
ALIGNMENT = 64  # bytes, of each content in the shared tensor


class Packed(NamedTuple):
    """A pickled object, and the contents of its large tensors in one."""

    pickled: bytes
    lengths: list[int]  # of the contents, in bytes
    contents: Tensor  # uint8, each content padded to a multiple of ALIGNMENT


def pack(value: object) -> Packed:
    """Pack an object with tensors of the CPU."""
    file, parts = io.BytesIO(), list[Tensor]()

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        content = buffer.raw()
        if content.nbytes >= LEAST_BYTES:
            parts.append(torch.frombuffer(content, dtype=torch.uint8))
        return content.nbytes < LEAST_BYTES

    _TensorPickler(file, protocol=5, buffer_callback=is_small).dump(value)
    lengths = list(map(len, parts))
    contents = torch.empty(sum(map(_padded, lengths)), dtype=torch.uint8)
    for place, part in zip(_places(contents, lengths), parts, strict=True):
        place[:] = part
    return Packed(file.getvalue(), lengths, contents)


def unpack(packed: Packed) -> Any:
    """Return the object; its large tensors are parts of the shared one."""
    buffers = [place.numpy() for place in _places(packed.contents, packed.lengths)]
    return pickle.loads(packed.pickled, buffers=buffers)


def _places(contents: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Return the part of each content."""
    padded = torch.split(contents, list(map(_padded, lengths)))
    return [place[:length] for place, length in zip(padded, lengths, strict=True)]


def _padded(length: int) -> int:
    return length + -length % ALIGNMENT


class _TensorPickler(pickle.Pickler):
    """Pickle tensors as arrays, whose contents the buffer callback may take."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.contiguous().numpy(),)
        return NotImplemented
