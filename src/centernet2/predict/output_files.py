"""What `predict` writes: pictures, films, records, tables, labels and crops."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from centernet2.files import write_atomic, write_json
from centernet2.outputs import is_made_by, json_mark, mark_of, move_to_earlier
from centernet2.pictures import save_picture
from centernet2.predict.conversions import yolo_lines
from centernet2.predict.counting import Counts, Line, Zone, count_events
from centernet2.predict.film_writer import FilmWriter
from centernet2.predict.films import DEFAULT_RATE, Film, FilmSource
from centernet2.predict.growing_files import (
    CocoFile,
    EventsFile,
    GrowingFile,
    RecordsFile,
    TableFile,
)
from centernet2.predict.prediction import Prediction
from centernet2.spelling import counted

KINDS = ("pictures", "json", "coco", "csv", "yolo", "crops")
DEFAULT_KINDS = ("pictures", "json")
RECORDS_FILE, COCO_FILE, TABLE_FILE = "predictions.json", "coco.json", "detections.csv"
EVENTS_FILE, COUNTS_FILE = "events.csv", "counts.json"
SINGLE_FILES = (RECORDS_FILE, COCO_FILE, TABLE_FILE, EVENTS_FILE, COUNTS_FILE)
FILE_ADDRESS = "file://"
LABELS_FOLDER, NAMES_FILE, CROPS_FOLDER = "labels", "data.yaml", "crops"
UNSAFE = re.compile(r'[\ud800-\udfff\x00-\x1f<>:"/\\|?*]')  # not in names of files everywhere
DRAWN_NAMES, LABEL_NAMES, CROP_NAMES = (  # names of files that are numbered
    re.compile(rf"\d{{5,}}_.*\.({suffixes})", re.DOTALL)
    for suffixes in ("png|mp4", "txt", "jpg|png")
)
MAX_STEM_BYTES = 150  # of 255, which most file systems allow for a name
CROP_QUALITY = 95
MAX_JPEG_SIDE = 65_500  # pixels
logger = logging.getLogger(__name__)


class Outputs:
    """The files of a run in one folder; `open_outputs` opens and closes them.

    Args:
        folder: receives them.
        kinds: of KINDS.
        class_names: by label; empty: unknown.
        counters: lines and zones whose events are written.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[str],
        class_names: Sequence[str],
        counters: Sequence[Line | Zone] = (),
    ) -> None:
        self.folder, self.kinds = folder, kinds
        self.count = 0
        self._names = _Names()
        self._films = _Films(folder)
        files: dict[str, GrowingFile] = {
            "json": RecordsFile(folder / RECORDS_FILE),
            "coco": CocoFile(folder / COCO_FILE, class_names),
            "csv": TableFile(folder / TABLE_FILE),
        }
        self._files = [file for kind, file in files.items() if kind in kinds]
        self._events = EventsFile(folder / EVENTS_FILE, counters)
        self._files += [self._events] if counters else []
        self._class_names = class_names

    @property
    def counts(self) -> Counts:
        """Number of events by place, then by what happened, then by class."""
        return count_events(self._events.events)

    def write(self, prediction: Prediction) -> None:
        """Write all files of a prediction, which keeps its image."""
        stem = self._names.stem_of(prediction)
        picture = self._write_picture(prediction, stem) if "pictures" in self.kinds else None
        if prediction.frame is not None:
            stem = f"{stem}_{prediction.frame:06d}"
        for file in self._files:
            file.write(prediction, picture)
        if "yolo" in self.kinds:
            self._write_labels(prediction, stem)
        if "crops" in self.kinds:
            self._write_crops(prediction, stem)
        self.count += 1

    def _write_picture(self, prediction: Prediction, stem: str) -> str:
        if prediction.frame is not None:
            return self._films.write(prediction, stem)
        path = self.folder / f"{stem}.png"
        save_picture(prediction.plot(), path)
        return path.name

    def _write_labels(self, prediction: Prediction, stem: str) -> None:
        if self.count == 0:
            names = yaml.safe_dump({"names": list(self._class_names)}, allow_unicode=True)
            content = f"# {mark_of('predict')}\n{names}"
            write_atomic(self.folder / LABELS_FOLDER / NAMES_FILE, content)
        text = "".join(f"{line}\n" for line in yolo_lines(prediction))
        write_atomic(self.folder / LABELS_FOLDER / f"{stem}.txt", text)

    def _write_crops(self, prediction: Prediction, stem: str) -> None:
        """Write the part of the image in each box to the folder of its class."""
        height, width = prediction.size
        for index, (box, name) in enumerate(zip(prediction.boxes, prediction.names, strict=True)):
            low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            left, top = max(0, low[0]), max(0, low[1])
            part = prediction.image[top : min(height, high[1]), left : min(width, high[0])]
            if part.size:
                suffix = "jpg" if max(part.shape) <= MAX_JPEG_SIDE else "png"
                path = self.folder / CROPS_FOLDER / safe_name(name) / f"{stem}_{index}.{suffix}"
                save_picture(Image.fromarray(part), path, quality=CROP_QUALITY)

    def close(self, *, whole: bool) -> None:
        """Finish all files; `whole` is False after an error or an interruption."""
        with ExitStack() as stack:  # the others are closed, too, if one fails
            stack.callback(self._films.close, whole=whole)
            for file in self._files:
                stack.callback(file.close, whole=whole)
            if self._events in self._files and self.count:
                content = json_mark("predict") | self.counts
                stack.callback(write_json, self.folder / COUNTS_FILE, content, indent=1)


@contextmanager
def open_outputs(
    folder: Path,
    kinds: Sequence[str],
    class_names: Sequence[str],
    counters: Sequence[Line | Zone] = (),
) -> Iterator[Outputs]:
    """Open the files of a run; an interruption or an error keeps what came before it."""
    outputs = Outputs(folder, kinds, class_names, counters)
    try:
        yield outputs
    except BaseException:
        outputs.close(whole=False)
        if outputs.count:
            images = counted(outputs.count, "image")
            logger.warning("stopped after %s; the files in %s end there", images, folder)
        raise
    outputs.close(whole=True)


def earlier_files(folder: Path) -> list[str]:
    """Return the files below a folder that a run would move or replace.

    Labels carry no mark, so NAMES_FILE, which does, stands for those beside it.
    """
    names = folder / LABELS_FOLDER / NAMES_FILE
    files = [*_marked_files(folder), *([names] if names.exists() else _labels(folder)[:1])]
    return [str(path.relative_to(folder)) for path in files]


def set_aside_earlier_files(folder: Path, inputs: Iterable[Path | str]) -> None:
    """Move what an earlier run wrote in a folder to earlier_1, earlier_2, ... in it.

    So the folder holds one run. Inputs of the new run stay, and so does what is behind links.
    """
    names = folder / LABELS_FOLDER / NAMES_FILE
    earlier = [path for path in (*_marked_files(folder), names) if _is_written_by_run(path, folder)]
    if names in earlier:
        earlier += [path for path in _labels(folder) if _is_behind_no_link(path, folder)]
    given = [str(path).removeprefix(FILE_ADDRESS) for path in inputs] if earlier else []
    kept = {_file_id(path) for path in given}
    if earlier := [path for path in earlier if _file_id(path) not in kept]:
        logger.info(
            "%s holds an earlier run: %s moved to %s",
            folder, counted(len(earlier), "file"), move_to_earlier(folder, earlier),
        )  # fmt: skip


def _labels(folder: Path) -> list[Path]:
    return _named(folder / LABELS_FOLDER, LABEL_NAMES)


def _marked_files(folder: Path) -> list[Path]:
    """Return the files of a run that say what has made them; some may not exist."""
    crops = _named(folder / CROPS_FOLDER, CROP_NAMES, below="*/*")
    return [*_named(folder, DRAWN_NAMES), *crops, *(folder / name for name in SINGLE_FILES)]


def _named(folder: Path, names: re.Pattern[str], below: str = "*") -> list[Path]:
    return [path for path in folder.glob(below) if names.fullmatch(path.name)]


def _is_written_by_run(path: Path, folder: Path) -> bool:
    """Whether a run has written a file: it is marked, not empty, and behind no link."""
    is_own = _is_behind_no_link(path, folder) and path.is_file()
    return is_own and path.stat().st_size > 0 and is_made_by(path, "predict")


def _is_behind_no_link(path: Path, folder: Path) -> bool:
    return path.resolve() == folder.resolve() / path.relative_to(folder)


def _file_id(path: Path | str) -> tuple[int, int] | None:
    """Return what all names of a file have in common; None: there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def safe_name(name: str) -> str:
    """Return a name for a file or folder on any system."""
    encoding = sys.getfilesystemencoding()  # ASCII in a C locale
    known = UNSAFE.sub("_", name).encode(encoding, "replace").decode(encoding).replace("?", "_")
    short = known.encode()[:MAX_STEM_BYTES].decode("utf-8", "ignore")
    return short.rstrip(". ") or "_"


class _Names:
    """Numbers images and films, as two folders may have files of one name."""

    def __init__(self) -> None:
        self._count = 0
        self._film: Path | None = None
        self._frame = -1

    def stem_of(self, prediction: Prediction) -> str:
        path, frame = prediction.path, prediction.frame
        is_next = frame is not None and path == self._film and frame > self._frame
        if not is_next:
            self._count += 1
        self._film, self._frame = (None, -1) if frame is None else (path, frame)
        return f"{self._count - 1:05d}_{safe_name('image' if path is None else path.stem)}"


class _Films:
    """Drawn films: one for each film, and another where the size of frames changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: FilmWriter | None = None
        self._stem, self._part = "", 1
        self._size = (0, 0)

    def write(self, prediction: Prediction, stem: str) -> str:
        """Write a frame; return the name of the film."""
        if self._writer is None or (stem, prediction.size) != (self._stem, self._size):
            is_part = stem == self._stem
            self.close(whole=not is_part)
            self._part = self._part + 1 if is_part else 1
            self._stem, self._size = stem, prediction.size
            self._writer = self._open(prediction)
        time = Fraction(prediction.time or 0)
        self._writer.write(np.array(prediction.plot()), time)
        return self._writer.path.name

    def _open(self, prediction: Prediction) -> FilmWriter:
        path = self._folder / (self._stem if self._part == 1 else f"{self._stem}_{self._part}")
        source = None if self._part > 1 else _file_of(prediction)
        if source is None:
            return FilmWriter(path, DEFAULT_RATE)
        with Film(source) as film:
            return FilmWriter(path, film.rate, source)

    def close(self, *, whole: bool) -> None:
        writer, self._writer = self._writer, None  # once, also if it fails
        if writer is not None:
            writer.close(whole=whole)


def _file_of(prediction: Prediction) -> FilmSource | None:
    """Return the film that frames come from, if it can be read once more."""
    path = prediction.path
    if path is None or not path.is_file():
        return None
    return FilmSource(str(path), str(path))
