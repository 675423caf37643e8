"""Find folders of images by their usual names, and that of a COCO JSON file.

Tools write prefixes to file names that do not exist elsewhere: folders of their server, a URL,
backslashes.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote

from centernet2.data.findings import Problem, Tally
from centernet2.data.readers.json_records import Record, keys_like
from centernet2.files import (
    files_below,
    is_image_file,
    one_form,
    stored_name,
    without_image_suffix,
)

SPLIT_WORDS = {  # of file and folder names and keys, in lower case
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# names of folders of images, of every layout, in lower case
IMAGE_FOLDERS = ("images", "jpegimages", "image", "imgs", "img", "jpgimages", "pngimages")
COCO_FOLDERS = (*IMAGE_FOLDERS, "data", "coco2017", "coco")
OTHER_NAME = Problem(
    "file names that differ from those of the images", "repairs",
    "they are the same but for case, suffix, spaces or URL encoding",
)  # fmt: skip
IN_SUBFOLDER = Problem(
    "file names without the folder of the image", "repairs",
    "the only file of the name is taken; those that several folders have stay missing",
)  # fmt: skip
PROBED_IMAGES = 20  # images whose files are searched in each folder


class NearNames:
    """Find files whose names differ in case, suffix, outer spaces or URL encoding."""

    def __init__(self) -> None:
        self._files: dict[Path, dict[str, list[Path]]] = {}  # by folder and comparable name

    def find(self, path: Path) -> Path | None:
        """Return the only file with nearly the name of a path; None if there is none."""
        files = self._files.get(path.parent)
        if files is None:
            files = self._files[path.parent] = self._list(path.parent)
        name = _comparable(unquote(path.name.split("?")[0]))
        found = files.get(name) or files.get(without_image_suffix(name)) or []
        return found[0] if len(found) == 1 and found[0] != path else None  # else a broken link

    @staticmethod
    def _list(folder: Path) -> dict[str, list[Path]]:
        """List the images of a folder by their names, and by these without suffix."""
        files: dict[str, list[Path]] = {}
        for path in folder.iterdir() if folder.is_dir() else ():
            if is_image_file(path):
                name = _comparable(path.name)
                for key in (name, without_image_suffix(name)):
                    files.setdefault(key, []).append(path)
        return files


def _comparable(name: str) -> str:
    return one_form(name).strip().casefold()


def is_hidden(path: PurePath) -> bool:
    """Whether a file is one of the system's: hidden, or a resource fork of macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def folders_named(folder: Path, names: Sequence[str]) -> list[Path]:
    """List the subfolders with one of the names, in any case, in the order of names."""
    if not folder.is_dir():
        return []
    entries = [entry for entry in os.scandir(folder) if entry.name.lower() in names]
    found = sorted(entry.name for entry in entries if entry.is_dir())
    return [folder / name for name in sorted(found, key=lambda name: names.index(name.lower()))]


def find_image_folder(
    content: Record, annotations: Path, split: str, given: Sequence[Path], tally: Tally
) -> Path:
    """Find the folder of the images, and correct file names in `content`, in place.

    Full names are tried first, in every folder, then names without their leading folders, then
    names that differ from those of the files a little, then the folders below. Among equally good
    folders the first is chosen; `given` folders replace the usual ones.
    """
    images = content.get("images")
    records = [r for r in images if isinstance(r, dict)] if isinstance(images, list) else []
    key = _name_key(records)
    names = {id(r): _clean_name(r, key) for r in records}
    probes = [
        names[id(r)] for r in records[:: max(1, len(records) // PROBED_IMAGES)] if names[id(r)]
    ]
    candidates = list(given) or _usual_folders(annotations, split)
    depth = max((len(PurePosixPath(name).parts) for name in probes), default=1)
    places = [(folder, cut) for cut in range(depth) for folder in candidates]
    near = NearNames()

    def count(exists: Callable[[Path], object]) -> list[int]:
        return [
            sum(bool(exists(_stored(folder, _shorten(name, cut)))) for name in probes)
            for folder, cut in places
        ]

    hits = count(os.path.isfile)  # a name may be too long for a file
    if not max(hits):
        hits = count(near.find)
    folder, cut = places[hits.index(max(hits))] if max(hits) else (candidates[0], 0)
    short = {name: _shorten(name, cut) for name in set(names.values())}
    claims = Counter(short.values() if cut else ())
    named = [record for record in records if names[id(record)]]
    for record in named:
        name = names[id(record)]  # kept where the images of several folders would become one
        record[key] = name if claims[short[name]] > 1 else short[name]
    if not max(hits):
        anything = (annotations.parent, annotations.parent.parent)  # such as a whole disk
        likely = [each for each in candidates if each not in anything]
        return _search_below(likely, named, key, tally) or folder
    if not all(os.path.isfile(_stored(folder, _shorten(name, cut))) for name in probes):
        _correct_names(named, key, folder, near, tally)
    return folder


def _search_below(
    folders: Sequence[Path], records: Sequence[Record], key: str, tally: Tally
) -> Path | None:
    """Find images below one of `folders`, return it, and correct names, in place.

    Some tools write names without folders. A name that several folders have is left as it is.
    """
    wanted = {PurePosixPath(record[key]).name for record in records}
    for folder in folders:
        files: dict[str, list[Path]] = {}
        for path in files_below(folder):
            if path.name in wanted:
                files.setdefault(path.name, []).append(path)
        if files:
            for record in records:
                found = files.get(PurePosixPath(record[key]).name, [])
                if len(found) == 1:
                    new = found[0].relative_to(folder).as_posix()
                    tally.add(IN_SUBFOLDER, f"{record[key]!r} is read as {new!r}", new)
                    record[key] = new
            return folder
    return None


def _correct_names(
    records: Sequence[Record], key: str, folder: Path, near: NearNames, tally: Tally
) -> None:
    """Replace names of missing files by those of files that differ a little, in place."""
    paths = [_stored(folder, record[key]) for record in records]
    found = [None if os.path.isfile(path) else near.find(path) for path in paths]
    claims = Counter(new or path for path, new in zip(paths, found, strict=True))
    for record, new in zip(records, found, strict=True):
        if new is not None and claims[new] == 1:
            tally.add(OTHER_NAME, f"{record[key]!r} is read as {new.name!r}", new.name)
            record[key] = str(PurePosixPath(record[key]).with_name(new.name))


def _stored(folder: Path, name: str) -> Path:
    return folder / stored_name(folder, name)


def _shorten(name: str, cut: int) -> str:
    """Remove the first `cut` folders of a name; its last part always remains."""
    parts = PurePosixPath(name).parts
    return str(PurePosixPath(*parts[min(cut, len(parts) - 1) :]))


def _name_key(records: Iterable[Record]) -> str:
    """Return the key of the file names, perhaps in other letters."""
    keys = set[str]().union(*records)
    return "file_name" if "file_name" in keys else [*keys_like("file_name", keys), "file_name"][0]


def _clean_name(record: Record, key: str) -> str:
    name = record.get(key)
    if not isinstance(name, str):
        name = "/".join(str(record.get("coco_url") or "").split("/")[-2:])  # LVIS
    if "?d=" in name:  # Label Studio's local files
        name = unquote(name.split("?d=", 1)[1])
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return ("/" if name.startswith("/") else "") + "/".join(parts)


def _usual_folders(annotations: Path, split: str) -> list[Path]:
    """Usual folders of the images of a JSON file, the most likely first."""
    here, above = annotations.parent, annotations.parent.parent
    year = "".join(re.findall(r"20\d\d", annotations.stem)[:1])
    words = [word for word, meaning in SPLIT_WORDS.items() if meaning == split]
    inner = [f"{word}{year}" for word in words] + words
    inner += [annotations.stem.lower().removeprefix("instances_"), "default"]
    bases = [above, here] if here.name.lower() in ("annotations", "lvis") else [here, above]
    folders = [each for base in bases for each in folders_named(base, (*inner, *COCO_FOLDERS))]
    tops = [each for base in bases for each in folders_named(base, COCO_FOLDERS)]
    folders += [each for top in tops for each in folders_named(top, inner)]
    first = above / "images" if here.name.lower() == "annotations" else here
    return [first, *folders, here, above]
