"""The packed index of a data set as a file that all processes map into memory.

Reading a large JSON file takes minutes and many times its size in memory, in every process of a
training run. So it is read once, and its index is kept in $CENTERNET2_CACHE/index
(~/.cache/centernet2/index) until one of its source files changes.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from centernet2.data.annotation_masks import PackedMasks
from centernet2.data.dataset import DetectionDataset
from centernet2.data.federated import FederatedLabels
from centernet2.data.findings import Finding, ProblemExample
from centernet2.files import cache_folder, open_atomic
from centernet2.images.storage import open_remote, remote_url

logger = logging.getLogger(__name__)

MAGIC = b"CN2INDXB"  # the last character is the version of the format and of the readers
ALIGNMENT = 64  # bytes
MIN_SIZE = 2**24  # bytes of the source files; smaller ones are not cached
Header = dict[str, Any]


def cached(
    sources: Sequence[Path | str],
    options: Sequence[object],
    read: Callable[[], DetectionDataset],
    *,
    is_usable: Callable[[DetectionDataset], bool] = lambda dataset: True,
) -> DetectionDataset:
    """Call `read`, or load its cached result if the source files are unchanged.

    Args:
        sources: paths and URLs of the files that `read` reads.
        options: everything else that the result depends on.
        read: makes the index.
        is_usable: whether a cached index is still valid; if not, it is made again.
    """
    before = [_fingerprint(source) for source in sources]
    if sum(size for size, _ in before) < MIN_SIZE:
        return read()
    path = _path(sources, options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock")).acquire()
    except OSError as error:
        logger.warning(
            "%s cannot be used as a cache (%s): the annotations are read each time",
            path.parent,
            error.strerror,
        )
        return read()
    with lock:  # one process reads the files while the others wait for its index
        stored = load_index(path, before)
        if stored is not None and is_usable(stored):
            logger.info(
                "%s: %d images, %d boxes from %s", sources[0], len(stored), len(stored.labels), path
            )
            return stored
        dataset = read()
        if [_fingerprint(source) for source in sources] == before:  # not changed while it was read
            try:
                save_index(path, dataset, before)
            except OSError as error:
                logger.warning("%s cannot be written (%s)", path, error.strerror)
        return load_index(path, before) or dataset  # preferably mapped: processes share the memory


def save_index(
    path: Path, dataset: DetectionDataset, fingerprints: Sequence[tuple[int, str]]
) -> None:
    """Write the index of a data set; the file appears whole or not at all."""
    arrays = dict(_arrays(dataset))
    position, entries = 0, {}
    for name, array in arrays.items():
        entries[name] = (position, array.dtype.str, array.shape)
        position = _aligned(position + array.nbytes)
    header = json.dumps({
        "fingerprints": fingerprints, "arrays": entries, "size": position,
        "name": dataset.name, "layout": dataset.layout, "folder": os.fspath(dataset.folder),
        "class_names": dataset.class_names, "category_ids": dataset.category_ids,
        "frequencies": dataset.frequencies, "findings": dataset.findings,
        "annotations": None if dataset.annotations is None else os.fspath(dataset.annotations),
    }).encode()  # fmt: skip
    with open_atomic(path, durable=True) as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header)
        start = _aligned(file.tell())
        for name, array in arrays.items():
            file.seek(start + entries[name][0])
            np.ascontiguousarray(array).tofile(file)
        file.truncate(start + position)


def load_index(path: Path, fingerprints: Sequence[tuple[int, str]]) -> DetectionDataset | None:
    """Load an index; None if it is missing, damaged, or made from other files."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            header: Header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            start = _aligned(file.tell())
        if header["fingerprints"] != [list(each) for each in fingerprints]:
            return None
        if path.stat().st_size != start + header["size"]:
            return None
        # copy-on-write pages: writable like other arrays, and shared until they are written to
        content = np.asarray(np.memmap(path, mode="c", offset=0))[start:]
        return _dataset(header, content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dataset(header: Header, content: npt.NDArray[np.uint8]) -> DetectionDataset:
    arrays = {}
    for name, (position, dtype, shape) in header["arrays"].items():
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        arrays[name] = content[position : position + size].view(dtype).reshape(shape)
    masks, federated = _of(arrays, "masks"), _of(arrays, "federated")
    return DetectionDataset(
        name=header["name"],
        layout=header["layout"],
        class_names=tuple(header["class_names"]),
        category_ids=tuple(header["category_ids"]),
        folder=Path(header["folder"]),
        annotations=None if header["annotations"] is None else Path(header["annotations"]),
        frequencies=tuple(header["frequencies"]),
        findings=tuple(_finding(each) for each in header["findings"]),
        masks=PackedMasks(**masks) if masks else None,
        federated=FederatedLabels(**federated) if federated else None,
        **arrays,
    )


def _finding(fields: list[Any]) -> Finding:
    split, kind, total, action, advice, examples = fields
    return Finding(
        split,
        kind,
        total,
        action,
        advice,
        tuple(
            ProblemExample(text, file_name, None if box is None else tuple(box))
            for text, file_name, box in examples
        ),
    )


def _of(arrays: dict[str, npt.NDArray[Any]], part: str) -> dict[str, npt.NDArray[Any]]:
    """Take the arrays PART.NAME out of a dictionary, by NAME."""
    names = [name for name in arrays if name.startswith(f"{part}.")]
    return {name.removeprefix(f"{part}."): arrays.pop(name) for name in names}


def _arrays(dataset: DetectionDataset) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for field in fields(dataset):
        value = getattr(dataset, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, value
        elif isinstance(value, PackedMasks | FederatedLabels):
            yield from (
                (f"{field.name}.{part.name}", getattr(value, part.name)) for part in fields(value)
            )


def _fingerprint(source: Path | str) -> tuple[int, str]:
    """Size and modification time of a local or remote file; (0, "") if missing."""
    url = remote_url(source)
    if url is None:
        try:
            state = os.stat(source)
        except OSError:
            return 0, ""
        return state.st_size, str(state.st_mtime_ns)
    system, path = open_remote(url)
    info = system.info(path)
    marks = [
        info.get(key)
        for key in ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime")
    ]
    return int(info.get("size") or 0), str(next((mark for mark in marks if mark), ""))


def _path(sources: Sequence[Path | str], options: Sequence[object]) -> Path:
    """Path of the index of these files, whatever their content."""
    locations = [remote_url(source) or str(Path(source).resolve()) for source in sources]
    digest = hashlib.sha256(
        json.dumps([locations, [str(option) for option in options]]).encode()
    ).hexdigest()
    return cache_folder() / "index" / f"{Path(str(sources[0])).stem}-{digest[:16]}.index"


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
