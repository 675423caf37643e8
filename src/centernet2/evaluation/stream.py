"""Detections on disk while an evaluation runs: a line of JSON per image.

Memory stays flat until they are gathered, and an interruption loses nothing.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centernet2.distributed import (
    barrier,
    failing_together,
    gather_objects,
    gather_on_main_process,
    is_main_process,
    rank,
)
from centernet2.structures import FloatArray, RunLengths

UNFINISHED = "unfinished"  # folder within the output folder, until the evaluation is complete


class ImageResult(NamedTuple):
    """The detections of one image."""

    results: FloatArray  # [D, 7]
    masks: list[RunLengths] | None
    stages: dict[str, Any] | None  # see `evaluation.stage_metrics.stage_record`


class ResultStream:
    """Writer of the detections of this process, a line per image.

    The processes may share the folder, or have one each.

    Args:
        fingerprint: gives an identifier of weights, config and data; called on the main process.
            Results with another fingerprint are not resumed. None: the stream is never resumed.
        resume: keep the results of an interrupted evaluation; otherwise they are deleted.
    """

    def __init__(
        self, folder: Path, *, fingerprint: Callable[[], str] | None = None, resume: bool = False
    ) -> None:
        self.folder = folder / UNFINISHED
        self.path = self.folder / f"process{rank()}.jsonl"
        identifier = ""
        if fingerprint is not None:
            identifier = gather_objects(fingerprint() if is_main_process() else "")[0]
        if is_main_process() and not resume:
            _remove_lines(self.folder)
        barrier()
        own: set[int] = set()
        with failing_together():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in _files_of(self.folder):
                own |= {image for image, _ in _read_lines(path, identifier)}
        # positions of the images that any process has finished
        self.done: frozenset[int] = frozenset().union(*gather_objects(own))
        with failing_together():
            self.file = _open_for_appending(self.path, identifier)

    def write(self, image: int, result: ImageResult) -> None:
        """Append an image; what is written survives a crash of this process."""
        line = {"image": image, "results": result.results[:, 1:].tolist()}
        line |= {"masks": result.masks} if result.masks is not None else {}
        line |= {"stages": result.stages} if result.stages is not None else {}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def gather(self) -> dict[int, ImageResult]:
        """All images of all processes, each once, by position; on the main process only.

        Other processes send the images whose files the main process does not see.
        """
        with failing_together():
            self.file.flush()
        own: dict[int, ImageResult] = {}
        with failing_together():
            for path in _files_of(self.folder) if is_main_process() else [self.path]:
                own |= dict(_read_lines(path, None))
        seen = gather_objects(frozenset(own) if is_main_process() else frozenset())[0]
        unseen = {i: each for i, each in own.items() if i not in seen}
        for part in gather_on_main_process(unseen):
            own |= part
        return dict(sorted(own.items())) if is_main_process() else {}

    def close(self, *, complete: bool) -> None:
        """Close the file; a complete evaluation leaves no lines behind.

        Only a complete evaluation waits for the other processes: after an error they may wait
        elsewhere.
        """
        self.file.close()
        if complete:
            barrier()
            _remove_lines(self.folder)


def _files_of(folder: Path) -> list[Path]:
    """Return the files of all processes; others in the folder are not ours."""
    return sorted(folder.glob("process*.jsonl"))


def _remove_lines(folder: Path) -> None:
    """Delete the files of all processes, and the folder unless it holds others."""
    with suppress(OSError):  # another process may delete them, too
        for path in _files_of(folder):
            path.unlink(missing_ok=True)
        folder.rmdir()


def _read_lines(path: Path, fingerprint: str | None) -> Iterator[tuple[int, ImageResult]]:
    """Read the images of a file; skip a line that a crash has truncated."""
    with path.open(encoding="utf-8") as file:
        header = file.readline()
        if (
            fingerprint is not None
            and header.endswith("\n")
            and json.loads(header)["fingerprint"] != fingerprint
        ):
            raise ValueError(
                f"{path.parent} was written with other weights, options or images; "
                "evaluate without --resume, or into another --output-dir"
            )
        for line in file:
            if line.endswith("\n"):
                content = json.loads(line)
                rows = np.array(content["results"], dtype=np.float64).reshape(-1, 6)
                images = np.full((len(rows), 1), float(content["image"]))
                results = np.concatenate([images, rows], axis=1)
                result = ImageResult(results, content.get("masks"), content.get("stages"))
                yield content["image"], result


def _open_for_appending(path: Path, fingerprint: str) -> TextIOWrapper:
    """Open a file behind its last complete line."""
    if path.exists():
        with path.open("rb") as lines:
            complete = sum(len(line) for line in lines if line.endswith(b"\n"))
        os.truncate(path, complete)
    file = path.open("a", encoding="utf-8")
    if not file.tell():
        file.write(json.dumps({"fingerprint": fingerprint}) + "\n")
    return file
