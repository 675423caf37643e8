"""Ids as the files of a data set have them: integers of any size, or text.

Inside the package an image is its position in the index and a class is its label; these ids are
only read and written back.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from centernet2.structures import IntArray, UserId

PackedIds = IntArray | npt.NDArray[np.bytes_]


def pack_ids(ids: Sequence[UserId]) -> PackedIds:  # [I]
    """Pack ids into int64, or each as JSON text if there is another kind among them."""
    limits = np.iinfo(np.int64)
    if all(isinstance(each, int) and limits.min <= each <= limits.max for each in ids):
        return np.array(ids, dtype=np.int64)
    return np.array([json.dumps(each).encode() for each in ids])


def unpack_id(ids: npt.NDArray[Any], i: int) -> UserId:
    """Return the id at position i."""
    value: UserId = json.loads(ids[i]) if ids.dtype.kind == "S" else int(ids[i])
    return value


def join_ids(parts: Sequence[PackedIds]) -> PackedIds:
    """Concatenate packed ids."""
    if all(part.dtype.kind == "i" for part in parts):
        joined: IntArray = np.concatenate(parts)
        return joined
    return pack_ids([unpack_id(part, i) for part in parts for i in range(len(part))])
