"""What was found so far, on disk: one line of JSON per image, so that memory stays flat and nothing is lost."""

import json
import shutil
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet2.distributed import barrier, gather_objects, is_main_process, rank
from centernet2.evaluation.ground_truth import FloatArray
from centernet2.evaluation.results import RunLengths

FOLDER = "unfinished"  # within the output folder, until the evaluation is complete


class Found(NamedTuple):
    """What was found in one image."""

    results: FloatArray  # [D, 7] rows of COCO results
    masks: list[RunLengths] | None
    stages: dict[str, Any] | None  # what the stages say, see `evaluation.stages`


class ResultStream:
    """Lines of this process in a folder that all processes share, or that each has for itself.

    Args:
        folder: of the evaluation.
        fingerprint: of weights, settings and data: what was found with others is not continued.
        resume: keep what an interrupted evaluation has left; otherwise it is deleted.
    """

    def __init__(self, folder: Path, *, fingerprint: str = "", resume: bool = False) -> None:
        self.folder = folder / FOLDER
        self.path = self.folder / f"process{rank()}.jsonl"
        if is_main_process() and not resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        barrier()
        self.folder.mkdir(parents=True, exist_ok=True)
        own: set[int] = set()
        for path in sorted(self.folder.glob("*.jsonl")):
            own |= {image_id for image_id, _ in _lines(path, fingerprint)}
        self.done: frozenset[int] = frozenset().union(
            *gather_objects(own)
        )  # ids of images, on all processes
        self.file = _open(self.path, fingerprint)

    def write(self, image_id: int, found: Found) -> None:
        """Adds an image; what is written survives a crash of this process."""
        line = {"image_id": image_id, "results": found.results[:, 1:].tolist()}
        line |= {"masks": found.masks} if found.masks is not None else {}
        line |= {"stages": found.stages} if found.stages is not None else {}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def gather(self) -> dict[int, Found]:
        """All images of all processes, each once, by id."""
        self.file.flush()
        barrier()
        paths = sorted(self.folder.glob("*.jsonl")) if is_main_process() else [self.path]
        merged: dict[int, Found] = {}
        for part in gather_objects(
            {key: found for path in paths for key, found in _lines(path, None)}
        ):
            merged |= part
        return dict(sorted(merged.items()))

    def close(self, *, complete: bool) -> None:
        """Ends writing; a complete evaluation leaves no lines behind."""
        self.file.close()
        barrier()
        if complete:
            shutil.rmtree(self.folder, ignore_errors=True)


def _lines(path: Path, fingerprint: str | None) -> Iterator[tuple[int, Found]]:
    """The images in a file; a line that a crash has cut short is passed over."""
    with path.open(encoding="utf-8") as file:
        header = file.readline()
        if (
            fingerprint is not None
            and header.endswith("\n")
            and json.loads(header)["fingerprint"] != fingerprint
        ):
            raise ValueError(
                f"{path.parent} was written with other weights, settings or images; evaluate without --resume, "
                "or into another --output-dir"
            )
        for line in file:
            if line.endswith("\n"):
                content = json.loads(line)
                rows = np.array(content["results"], dtype=np.float64).reshape(-1, 6)
                results = np.concatenate(
                    [np.full((len(rows), 1), float(content["image_id"])), rows], axis=1
                )
                yield (
                    content["image_id"],
                    Found(results, content.get("masks"), content.get("stages")),
                )


def _open(path: Path, fingerprint: str) -> TextIOWrapper:
    """Opens a file to add lines, behind its last whole one."""
    if path.exists():
        whole = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole[0] + whole[1])
    file = path.open("a", encoding="utf-8")
    if not file.tell():
        file.write(json.dumps({"fingerprint": fingerprint}) + "\n")
    return file
