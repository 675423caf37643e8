"""Outputs of commands: where and by which process written, what may be replaced.

A command replaces only files that it has made itself: never an input, never a file of other origin.
Its files carry a mark in their first or last bytes. Lists and metrics, whose form other programs
expect, are known by how they begin.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from centernet2.files import irregular_kind, is_image_file

PROBED_BYTES = 1024  # at both ends of a file; WebP has its metadata last
PICTURE_MARK = "picture drawn by centernet2"
DRAWING = ("check", "explain", "next", "predict", "show")  # commands that make pictures
RESULT_SUFFIXES = (".csv", ".html", ".json", ".mp4")  # of files that commands write, but pictures
NOTHING = (b"", b"[]")  # content that anything may replace
BEGINNINGS = {  # command -> file name -> regular expression
    "check": {"findings.json": rb'\[\n {\n  "split": "'},
    "eval": {
        "metrics.json": rb'{\n  "bbox/AP": ',
        "notes.json": rb'\[\n "',
        "predictions.json": rb'\[\n{"image_id": ',
        "skipped.json": rb'\[\n {\n  "image_id": ',
        "speed.json": rb'{"images": ',
        "stages.json": rb'\[{"image_id": [^,]+, "object_scores": ',
    },
    "next": {"label_studio.json": rb'\[\n {\n  "data": {\n   "image": '},
    "explain": {"explanation.json": rb'{\n "image": '},
    "predict": {
        "detections.csv": rb"image,frame,time,left,top,right,bottom,score,label,name",
        "events.csv": rb"image,frame,time,id,name,place,what",
        "predictions.json": rb'\[\n{"file": ',
        "skipped.csv": rb"image,error\s",
    },
}


def writable_folder(
    folder: Path, option: str, *, command: str = "", files: Iterable[str] = ()
) -> Path:
    """Return the folder that an option names; raise ValueError if it cannot be used.

    Check it before the work whose results it receives. It need not exist: writing creates it.

    Args:
        command: the command that writes the folder.
        files: names of the files that it writes, which it must be able to replace.
    """
    _require_writable(folder, folder, option)
    if not folder.is_dir() and _is_result_name(folder):
        raise ValueError(
            f"{option} {folder} has the name of a file, but the results go into a folder; give its "
            f"name, such as {folder.with_suffix('')}"
        )
    for name in files:
        require_replaceable(folder / name, command, option)
    return folder


def _is_result_name(path: Path) -> bool:
    """Whether a path is named like a file with results, such as a picture."""
    return is_image_file(path) or path.suffix.lower() in RESULT_SUFFIXES


def writable_file(path: Path, option: str = "--output", *, command: str = "") -> Path:
    """Return the file that an option names; raise ValueError if it cannot be used.

    Without the command that writes it, the caller sees to what is replaced.
    """
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; give the path of a file")
    _require_writable(path, path.parent, option)
    require_replaceable(path, command, option)
    return path


@contextmanager
def only_run_in(folder: Path, kind: str, option: str) -> Iterator[None]:
    """Hold a folder for a run; raise ValueError if another such run holds it.

    The system ends the hold of a killed process. A folder that is still empty is removed again.

    Args:
        kind: of the run, which names the lock file.
        option: names the folder.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    path = folder / f".{kind}.lock"
    file, is_ours = _open_and_lock(path)
    with file:
        if not is_ours:
            file.seek(0)
            raise ValueError(
                f"another {kind} run (process {file.read().strip()}) is writing {folder}; wait "
                f"until it has ended, or give another {option}"
            )
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        try:
            yield
        finally:
            with suppress(OSError):  # a folder has files, or Windows keeps the open one
                path.unlink()
                for each in made:
                    each.rmdir()


def _open_and_lock(path: Path) -> tuple[TextIO, bool]:
    """Open and lock a file; return it, and whether this process holds the lock.

    The run that had locked it may have removed it since it was opened. A lock on a file that others
    cannot open would not keep them away, so another one is made.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        is_ours = _lock(file)
        if not is_ours or os.fstat(file.fileno()).st_nlink > 0:
            return file, is_ours
        file.close()


def _lock(file: TextIO) -> bool:
    """Lock a file for this process; return False if another one has locked it."""
    try:
        import fcntl

        # not flock: workers of the data loader would inherit it, and outlive a killed process
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    return True


def _require_writable(path: Path, folder: Path, option: str) -> None:
    if os.path.expandvars(path) != str(path):  # it would become the name of a folder
        raise ValueError(
            f"{option} {path} names a variable, which only a shell replaces; write its value"
        )
    existing = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not existing.is_dir() or not _takes_files(existing):
        reason = "cannot be written" if existing.is_dir() else "is not a folder"
        raise ValueError(f"{option} {path} cannot be used: {existing} {reason}; choose another one")


def _takes_files(folder: Path) -> bool:
    """Whether files can be created in a folder, which permissions alone do not tell."""
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def require_replaceable(path: Path, command: str, option: str) -> None:
    """Raise ValueError if something exists at a path that a command must not replace."""
    if not os.path.exists(path):
        return
    if not path.is_file():
        raise ValueError(
            f"{option} cannot be used: {path} exists and is no regular file; choose another one"
        )
    if command and not is_made_by(path, command):
        raise ValueError(
            f"{option} cannot be used: {path} exists and was not made by `centernet2 {command}`, "
            "which would replace it; choose another one, or move the file away"
        )


def is_made_by(path: Path, command: str) -> bool:
    """Whether a file is an output of a command, or holds nothing."""
    start, end = read_ends(path)
    if start == end and start.strip() in NOTHING:
        return True
    if command in DRAWING and any(PICTURE_MARK.encode() in part for part in (start, end)):
        return True
    mark = re.compile(rb'made[_ ]by"?:? "?centernet2 %b["\s]' % re.escape(command.encode()))
    beginning = BEGINNINGS.get(command, {}).get(path.name)
    is_marked = any(mark.search(part) for part in (start, end))
    return is_marked or bool(beginning and re.match(beginning, start))


def is_own_picture(path: Path) -> bool:
    """Whether `save_picture` has written a file; False if the file cannot be read."""
    try:
        return not irregular_kind(path) and PICTURE_MARK.encode() in b"".join(read_ends(path))
    except OSError:  # reading it as an image reports the error
        return False


def read_ends(path: Path) -> tuple[bytes, bytes]:
    """Read the first and the last bytes of a file, where marks are."""
    with path.open("rb") as file:
        start = file.read(PROBED_BYTES)
        file.seek(max(0, file.seek(0, os.SEEK_END) - PROBED_BYTES))
        return start, file.read(PROBED_BYTES)


def move_to_earlier(folder: Path, paths: Sequence[Path]) -> Path:
    """Move an earlier run's files in a folder to earlier_1, earlier_2, ... in it.

    Files keep their places below it, and folders that become empty are removed.

    Returns:
        The folder that receives them.
    """
    numbered = (folder / f"earlier_{number}" for number in count(1))
    target = next(each for each in numbered if not os.path.lexists(each))
    for path in paths:
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    left = {each for path in paths for each in path.parents if folder in each.parents}
    for each in sorted(left, reverse=True):  # those within others first
        if not any(each.iterdir()):
            each.rmdir()
    return target


def mark_of(command: str) -> str:
    """Return the mark for a comment of a file that a command makes."""
    return f"made by centernet2 {command}"


def json_mark(command: str) -> dict[str, str]:
    """Return the mark as the first key of a JSON object that a command makes."""
    return {"made_by": f"centernet2 {command}"}
