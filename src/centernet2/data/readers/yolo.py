"""Read a split of a YOLO data set as records in COCO's format.

A line of labels/NAME.txt is an object of images/NAME.jpg, in shares of the image's upright width
and height; see yolo_rows.
"""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from centernet2.data.findings import Problem, Tally
from centernet2.data.image_check import read_sizes
from centernet2.data.readers.image_folders import IMAGE_FOLDERS, folders_named, is_hidden
from centernet2.data.readers.json_records import Record
from centernet2.data.readers.yolo_forms import LabelRow, RowForm
from centernet2.data.readers.yolo_rows import read_rows
from centernet2.data.readers.yolo_sources import YoloSource, candidates, in_any_case
from centernet2.files import files_below, is_image_file, one_form, unicode_forms
from centernet2.images.image_files import ImageError
from centernet2.outputs import is_own_picture
from centernet2.text_files import read_text_file

LABEL_FOLDERS = ("labels", "label", "txt")
# names of text files that hold no labels
OTHER_TEXTS = ("classes", "train", "val", "valid", "test", "labels", "obj", "notes", "readme")
PROBED_LINES = 50  # lines of a list of images whose files are searched
UNREADABLE = Problem("images that cannot be read", "drops", "replace or remove them")
UNLISTED = Problem("listed images that do not exist", "drops", "correct the list")
LISTED_IN_PLACES = Problem("images listed twice", "drops", "each is used once; correct the places")
SHARED_LABELS = Problem(
    "images that share a label file with another one", "note",
    "all of them have its objects; give each image a name of its own",
)  # fmt: skip
OTHER_CASE = Problem(
    "label files whose name differs from the image's in upper and lower case", "repairs",
    "they are read; rename them",
)  # fmt: skip
OTHER_FOLDER = Problem(
    "label files in another folder than those of the other images", "drops",
    "move them into the folder of the others",
)  # fmt: skip
OWN_PICTURES = Problem(
    "pictures that this program has drawn", "note", "they are left out; write outputs elsewhere"
)
NO_LABELS = Problem(
    "images without a label file", "note", "they are images without an object (background)"
)
NO_IMAGE = Problem("label files without an image", "drops", "add the image or delete the file")
UNKNOWN_SUFFIX = Problem(
    "label files whose image has an unknown suffix", "drops", "convert the images to PNG or JPEG"
)
NO_EXTENT = Problem(
    "label rows without positive width and height", "drops", "correct or remove them"
)


def read_yolo(
    source: YoloSource, places: Sequence[Path], split: str, tally: Tally
) -> tuple[Record, Path]:
    """Read one split's records in COCO's format, and the folder of their file names.

    Class numbers are category ids. Repaired and dropped input is counted in `tally`.

    Raises:
        ValueError: a split to train on or to evaluate with has no usable object.
    """
    for problem, text in source.problems:
        tally.add(problem, text)
    listed = [image for place in places for image in images_of_place(place, source, tally)]
    images = _once([Path(os.path.abspath(image)) for image in listed], tally)
    root = Path(os.path.abspath(source.path.parent))
    if not all(image.is_relative_to(root) for image in images):
        root = Path(root.anchor)
    content: Record = {"images": [], "annotations": []}
    content["categories"] = [
        {"id": number, "name": name} for number, name in source.classes.items()
    ]
    label_files, folders = _label_files(images, places, tally)
    images, label_files = _without_own_pictures(images, label_files, tally)
    _count_labels(images, label_files, tally)
    files, failure = [], ""
    sizes = read_sizes(images, f"{split} image sizes")
    for image, file, size in zip(images, label_files, sizes, strict=True):
        if isinstance(size, ImageError):
            failure = str(size)
            tally.add(UNREADABLE, failure, str(image))
            continue
        height, width = size
        files.append(file)
        content["images"].append({
            "id": len(content["images"]) + 1, "file_name": str(image.relative_to(root)),
            "height": height, "width": width,
        })  # fmt: skip
    if not files:
        advice = ", or remove this split and train with --val-fraction 0.1"
        reason = _no_image(source, places, images, failure)
        raise ValueError(reason + (advice if split == "val" else ""))
    others = partial(_other_label_files, source, places)
    for row, form in read_rows(files, source, tally, others):
        record = content["images"][row.image]
        annotation = _annotation(row, form, record["height"], record["width"])
        if min(annotation["bbox"][2:]) <= 0:
            tally.add(NO_EXTENT, row.place, record["file_name"])
            continue
        ids = {"id": len(content["annotations"]) + 1, "image_id": record["id"]}
        content["annotations"].append({**ids, "iscrowd": 0, **annotation})
    if split != "test" and not content["annotations"]:
        where = ", ".join(map(str, folders))
        raise ValueError(
            f"{source.path}: the split {split!r} has {len(files)} images, but no usable object; "
            f"label files NAME.txt were looked for in {where}; add them or correct the paths"
        )
    return content, root


def _once(listed: Sequence[Path], tally: Tally) -> list[Path]:
    """Leave out repetitions: places may overlap, and lines of a list occur twice."""
    images: dict[Path, None] = {}
    for image in listed:
        if image in images:
            tally.add(LISTED_IN_PLACES, str(image), str(image))
        images[image] = None
    return list(images)


def _other_label_files(source: YoloSource, places: Sequence[Path]) -> list[Path | None]:
    """Find the label files of the other splits that exist."""
    found: list[Path | None] = []
    unused = Tally("")
    for others in source.splits.values():
        if others != places:
            with suppress(ValueError, OSError):  # that split is refused when it is read
                images = [
                    image for place in others for image in images_of_place(place, source, unused)
                ]
                found += _label_files(images, others, unused)[0]
    return found


def _no_image(
    source: YoloSource, places: Sequence[Path], images: Sequence[Path], failure: str
) -> str:
    """Say why a split has no image that can be used; `failure` says it of one of them."""
    where = ", ".join(map(str, places))
    if images:
        return (
            f"{source.path}: none of the {len(images)} images of {where} can be read, such as "
            f"{failure}"
        )
    others = {
        path.suffix
        for place in places
        if place.is_dir()
        for path in files_below(place)
        if path.suffix.lower() not in ("", ".txt")
    }
    held = f", only files that end in {', '.join(sorted(others)[:5])}" if others else ""
    return f"{source.path}: there is no image in {where}{held}; correct the paths in the file"


def images_of_place(place: Path, source: YoloSource, tally: Tally) -> list[Path]:
    """List the images below a folder, or in a text file, or the image itself."""
    if place.is_dir():
        below = filter(is_image_file, files_below(place))
        return sorted(path for path in below if not is_hidden(path.relative_to(place)))
    if is_image_file(place):
        return [place]
    lines = [line.strip().strip('"') for line in read_text_file(place).split("\n")]
    numbered = [(n, line) for n, line in enumerate(lines, start=1) if line and line[0] != "#"]
    roots = tuple(dict.fromkeys((place.parent, *source.roots)))
    if not numbered:
        raise ValueError(f"{place}: the list of images is empty; add their paths")
    rank = _usual_rank([line for _, line in numbered], roots)
    found = []
    for number, line in numbered:
        places = (candidates(roots, form) for form in unicode_forms(line))
        tried = [path for each in places for path in (*each[rank : rank + 1], *each)]
        image = next(filter(os.path.isfile, tried), None)
        if image is None:
            tally.add(UNLISTED, f"{place}, line {number}: {line}", line)
        else:
            found.append(image)
    if not found:
        number, line = numbered[0]
        tried = candidates(roots, line)[:4]
        raise FileNotFoundError(
            f"{place}, line {number}: the image {line} does not exist, nor any other of the list; "
            f"looked for {', '.join(map(str, tried))}; correct the paths"
        )
    return found


def _usual_rank(lines: Sequence[str], roots: Sequence[Path]) -> int:
    """Position, among the candidates of a path, that exists for most lines of a list."""
    hits: dict[int, int] = {}
    for line in lines[:: max(1, len(lines) // PROBED_LINES)]:
        for rank, path in enumerate(candidates(roots, line)):
            hits[rank] = hits.get(rank, 0) + os.path.isfile(path)
    return max(hits, key=lambda rank: (hits[rank], -rank))


def _label_files(
    images: Sequence[Path], places: Sequence[Path], tally: Tally
) -> tuple[list[Path | None], list[Path]]:
    """Find the label file of each image, and return the folders that were searched."""
    by_folder: dict[Path, list[int]] = {}
    for i, image in enumerate(images):
        by_folder.setdefault(image.parent, []).append(i)
    files: list[Path | None] = [None] * len(images)
    searched: list[Path] = []
    stems = {one_form(image.stem) for image in images}
    labels_in = cache(lambda folder: _list_labels(folder, stems))  # many folders may share one
    for folder, indices in by_folder.items():
        folders = label_folders(folder)
        searched += [each for each in folders if each not in searched]
        keys = {one_form(images[i].stem) for i in indices}
        listed = {each: labels_in(each) for each in folders}
        best = max(folders, key=lambda each: sum(map(listed[each].has, keys)))
        texts, others = listed[best]
        for i in indices:
            stem = one_form(images[i].stem)
            other = None if stem in texts else others.get(stem.lower())
            files[i] = texts.get(stem) or other
            if other is not None:
                tally.add(OTHER_CASE, f"{images[i].name}: {other}", str(images[i]))
                keys.add(one_form(other.stem))
            elsewhere = (listed[each].texts.get(stem) for each in folders if _is_of(each, folder))
            if files[i] is None and (unread := next(filter(None, elsewhere), None)):
                tally.add(OTHER_FOLDER, f"{images[i].name}: {unread}", str(images[i]))
        # a list of images may leave out some, and splits may share a folder of labels
        if all(place.is_dir() for place in places) and _is_of(best, folder):
            _count_lonely(texts, keys, folder, tally)
    return files, searched


def _without_own_pictures(
    images: Sequence[Path], files: Sequence[Path | None], tally: Tally
) -> tuple[list[Path], list[Path | None]]:
    """Leave out what commands have drawn in a folder of images and labels.

    A training run there would change the images that are held out for validation. Without any
    label, they may be crops that are collected on purpose.
    """
    kept, has_labels = [], any(files)
    for image, file in zip(images, files, strict=True):
        if has_labels and file is None and is_own_picture(image):
            tally.add(OWN_PICTURES, str(image), str(image))
        else:
            kept.append((image, file))
    return [image for image, _ in kept], [file for _, file in kept]


def _count_labels(images: Sequence[Path], files: Sequence[Path | None], tally: Tally) -> None:
    """Count images without a label file, and those that share one."""
    used = set[Path | None]()
    for image, file in zip(images, files if any(files) else (), strict=False):
        if file is None:
            tally.add(NO_LABELS, str(image), str(image))
        elif file in used:
            tally.add(SHARED_LABELS, f"{image}: {file}", str(image))
        used.add(file)


def label_folders(folder: Path) -> list[Path]:
    """List folders that may hold the labels of a folder's images, likely ones first.

    images/a/b may have its labels in labels/a/b, labels/a or labels, in any case, or beside the
    images.
    """
    parts = folder.parts
    places: list[Path] = []
    positions = [i for i, part in enumerate(parts) if part.lower() in IMAGE_FOLDERS]
    for i in reversed(positions):
        inner = [parts[i + 1 : end] for end in range(len(parts), i, -1)]
        words = _label_names(Path(*parts[:i]))
        likely = [Path(*parts[:i], word, *rest) for rest, word in product(inner, words)]
        if not any(place.is_dir() for place in likely[: -len(words)]):
            likely = [in_any_case(place) or place for place in likely]
        places += likely
    beside = [folder.parent / word for word in _label_names(folder.parent)]
    split = [place / folder.name for place in beside]
    own = [folder / word for word in _label_names(folder)]
    usual = [*places, folder] if positions else [folder, *own, *split]
    return [place for place in dict.fromkeys(usual) if place.is_dir() or place in usual[:1]]


def _is_of(labels: Path, images: Path) -> bool:
    """Whether a folder of labels belongs to one folder of images alone."""
    return labels in (images, images / labels.name) or (
        images.name.lower() in (*IMAGE_FOLDERS, labels.name.lower())
    )


def _label_names(folder: Path) -> list[str]:
    """Return the names of the folders of labels in a folder, or the usual name."""
    return [each.name for each in folders_named(folder, LABEL_FOLDERS)] or [LABEL_FOLDERS[0]]


def _texts_in(folder: Path) -> dict[str, Path]:
    """Label files of a folder by their comparable stem."""
    if not folder.is_dir():
        return {}
    names = sorted(entry.name for entry in os.scandir(folder))
    texts: dict[str, Path] = {}
    for name in names:
        if name.lower().endswith(".txt") and name[0] != ".":
            path = texts.setdefault(one_form(Path(name).stem), folder / name)
            if path.name != name:
                raise ValueError(f"{path} and {name} are label files of one image; remove one")
    return texts


class _Labels(NamedTuple):
    """The label files of a folder."""

    texts: dict[str, Path]  # by comparable stem
    others: dict[str, Path]  # those of no image, by their stem in lower case if only one has it

    def has(self, stem: str) -> bool:
        return stem in self.texts or stem.lower() in self.others


def _list_labels(folder: Path, images: Collection[str]) -> _Labels:
    """List the label files of a folder; `images` are the stems of all images."""
    texts = _texts_in(folder)
    lower: dict[str, list[Path]] = {}
    for stem, path in texts.items():
        if stem not in images:
            lower.setdefault(stem.lower(), []).append(path)
    return _Labels(texts, {stem: paths[0] for stem, paths in lower.items() if len(paths) == 1})


def _count_lonely(labels: dict[str, Path], keys: set[str], folder: Path, tally: Tally) -> None:
    """Count label files without an image, and those whose image has an unknown suffix."""
    lonely = [key for key in labels if key not in keys and not _is_other_text(key)]
    if not lonely or not keys & labels.keys():
        return
    same_folder = {
        one_form(Path(entry.name).stem): entry.name
        for entry in os.scandir(folder)
        if entry.is_file() and not entry.name.lower().endswith(".txt")
    }
    for key in lonely:
        if key in same_folder:
            tally.add(UNKNOWN_SUFFIX, str(folder / same_folder[key]))
        else:
            tally.add(NO_IMAGE, str(labels[key]))


def _is_other_text(stem: str) -> bool:
    return stem.lower() in OTHER_TEXTS or stem.lower().startswith("readme")


def _annotation(row: LabelRow, form: RowForm, height: int, width: int) -> Record:
    """Convert a row to the box, area and polygon of COCO's format."""
    numbers = row.numbers[: form.used]
    if not form.is_polygon:
        x, y = numbers[0] * width, numbers[1] * height
        w, h = numbers[2] * width, numbers[3] * height
        return {"category_id": row.label, "bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}
    xs, ys = [x * width for x in numbers[0::2]], [y * height for y in numbers[1::2]]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    polygon = [number for point in zip(xs, ys, strict=True) for number in point]
    return {"category_id": row.label, "bbox": box, "area": _area(xs, ys), "segmentation": [polygon]}


def _area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Area of a polygon (shoelace formula)."""
    pairs = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2
