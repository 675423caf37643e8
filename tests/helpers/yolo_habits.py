"""YOLO folders as other tools write them: a truth, and the habits of these tools."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import yaml

from tests.helpers.coco_habits import write_extra_files
from tests.helpers.random_truth import TrueImage, Truth, write_image

SUFFIXES = (".png", ".jpg", ".JPG", ".jpeg", ".bmp", ".jfif", ".webp", ".PNG")
YOLO_HABITS = (
    "encoding", "extra_files", "polygons", "mixed_rows", "pose", "confidence", "percent", "pixels",
    "rotated", "class_as_float", "windows_lines", "blank_lines", "tabs", "names_as_mapping",
    "text_keys", "name_count", "wrong_name_count", "windows_paths", "list_files", "capitals",
    "valid", "no_empty_files", "class_list", "unknown_class", "broken_row", "other_yaml",
    "repeated_places", "names_in_rows", "commas", "semicolons", "exponents", "labels_beside",
    "absolute_paths", "darknet", "damaged_exif", "turned", "tracks", "confident_polygons",
    "closed_polygons", "pose_unsaid", "upper_suffix", "lonely_labels", "hidden_files",
    "unicode_forms",
)  # fmt: skip
Row = Callable[[int, Sequence[float]], list[str]]


def write_yolo_truth(truth: Truth, root: Path, habits: list[str], rng: Random) -> None:
    """Write a truth as a YOLO folder with these habits."""
    images, labels = ("Images", "Labels") if "capitals" in habits else ("images", "labels")
    labels = images if "labels_beside" in habits else labels
    suffix = rng.choice(SUFFIXES)
    broken = rng.random()
    places = {}
    for split, content in truth.splits.items():
        name = "valid" if "valid" in habits and split == "val" else split
        places[split] = f"{images}/{name}"
        for image in content:
            write_image(root / images / name / f"{image.stem}{suffix}", image, habits)
            lines = _lines(image, truth.classes, habits, rng)
            if broken < 0.5 and "broken_row" in habits and lines:
                lines[0] = rng.choice(("0 0.5 0.5 0.1", "0 a b c d", "0 0.5 0.5 nan 0.1", "0"))
            if lines or "no_empty_files" not in habits:
                form = "NFD" if "unicode_forms" in habits else "NFC"
                stem = unicodedata.normalize(form, image.stem)
                end = "TXT" if "upper_suffix" in habits else "txt"
                _write_rows(root / labels / name / f"{stem}.{end}", lines, habits, rng)
        if "lonely_labels" in habits:
            _write_rows(root / labels / name / "alone.txt", ["0 0.5 0.5 0.1 0.1"], [], rng)
        if "hidden_files" in habits:
            (root / images / name / f"._{content[0].stem}{suffix}").write_bytes(b"\0\5\x16\7")
        if "list_files" in habits or "darknet" in habits:
            files = [f"./{places[split]}/{image.stem}{suffix}" for image in content]
            files *= 2 if "repeated_places" in habits else 1
            (root / f"{split}.txt").write_text("\n".join(files) + "\n", encoding="utf-8")
            places[split] = f"{split}.txt"
    if "darknet" in habits and "pose" not in habits:
        (root / "obj.names").write_text("\n".join(truth.classes), encoding=_encoding(habits, rng))
        lists = f"train = {places['train']}\nvalid = {places['val']}\n"
        (root / "obj.data").write_text(f"classes = 1\n{lists}names = data/obj.names\n")
    elif "class_list" in habits and "list_files" not in habits and "pose" not in habits:
        (root / "classes.txt").write_text("\n".join(truth.classes), encoding=_encoding(habits, rng))
    else:
        _write_yaml(root / "data.yaml", truth.classes, places, habits, rng)
    if "other_yaml" in habits:
        (root / "chart.yaml").write_text("{{ names }}: x\n")
        (root / "colab.yaml").write_text("train: /content/a\nval: /content/b\nnames: [x]\n")
    if "extra_files" in habits:
        write_extra_files(root, rng)


def _encoding(habits: Sequence[str], rng: Random) -> str:
    return rng.choice(("utf-8-sig", "utf-16")) if "encoding" in habits else "utf-8"


def _write_yaml(
    path: Path, classes: list[str], places: dict[str, str], habits: list[str], rng: Random
) -> None:
    names: object = classes
    if "names_as_mapping" in habits:
        numbers = [(str(k) if "text_keys" in habits else k, name) for k, name in enumerate(classes)]
        names = dict(numbers)
    paths = {k: v.replace("/", "\\") if "windows_paths" in habits else v for k, v in places.items()}
    top = "/home/someone/data" if "absolute_paths" in habits else "."
    content: dict[str, object] = {"path": top, **paths, "names": names}
    if "repeated_places" in habits:
        content |= {k: [place, place] for k, place in paths.items()}
    if "name_count" in habits:
        content["nc"] = len(classes)
    if "wrong_name_count" in habits:
        content["nc"] = len(classes) + 1
    if _form(habits) == "pose":
        content["kpt_shape"] = [2, 3]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if "names_as_mapping" not in habits and rng.random() < 0.5:  # as people write it, unquoted
        del content["names"]
        plain = "".join(f"  - {name}\n" for name in classes)
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True) + f"names:\n{plain}"
    path.write_bytes(text.encode(_encoding(habits, rng)))


def _write_rows(path: Path, lines: list[str], habits: list[str], rng: Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    end = "\r\n" if "windows_lines" in habits else "\n"
    if "tabs" in habits:
        lines = [line.replace(" ", "\t") + "  " for line in lines]
    if "commas" in habits:
        lines = [line.replace(" ", rng.choice((",", ", "))) for line in lines]
    elif "semicolons" in habits:
        lines = [line.replace(".", ",").replace(" ", ";") for line in lines]
    if "blank_lines" in habits:
        lines = [each for line in lines for each in ("", line, "   ")]
    path.write_bytes(end.join(lines).encode(_encoding(habits, rng)))


def _lines(image: TrueImage, classes: list[str], habits: list[str], rng: Random) -> list[str]:
    form = _form(habits)
    lines = []
    for k, (name, (x, y, w, h)) in enumerate(image.objects):
        label = classes.index(name)
        if "unknown_class" in habits and k == 0 and rng.random() < 0.3:
            label = len(classes) + 5
        shares = (
            (x + w / 2) / image.width, (y + h / 2) / image.height, w / image.width, h / image.height
        )  # fmt: skip
        of_row = "polygons" if form == "mixed_rows" and k % 2 else form
        first = f"{label}.0" if "class_as_float" in habits else str(label)
        if "names_in_rows" in habits and label < len(classes):
            first = name
        numbers = _numbers(of_row, shares, image)
        if "exponents" in habits:
            numbers = [f"{float(number):.9e}" for number in numbers]
        lines.append(" ".join([first, *numbers]))
    return lines


def _numbers(form: str, shares: tuple[float, ...], image: TrueImage) -> list[str]:
    x, y, w, h = shares
    corners = [
        x - w / 2, y - h / 2, x + w / 2, y - h / 2, x + w / 2, y + h / 2, x - w / 2, y + h / 2,
    ]  # fmt: skip
    values: list[float]
    if form in ("polygons", "rotated", "confident_polygons", "closed_polygons"):
        middle = [] if form == "rotated" else [x, y + h / 2]
        values = [*corners[:6], *middle, *corners[6:]]
        if form == "confident_polygons":
            values.append(0.9)
        if form == "closed_polygons":
            values += corners[:2]
    elif form in ("pose", "pose_unsaid"):
        values = [x, y, w, h, x, y, 2, x + w / 4, y, 1]
    elif form in ("confidence", "tracks"):
        values = [x, y, w, h, 0.9, *([7] if form == "tracks" else [])]
    elif form == "percent":
        values = [100 * each for each in shares]
    elif form == "pixels":
        sides = (image.width, image.height) * 2
        values = [each * side for each, side in zip(shares, sides, strict=True)]
    else:
        values = list(shares)
    return [f"{value:.9f}" for value in values]


def _form(habits: Sequence[str]) -> str:
    """The form of the rows: a tool writes one, or boxes and polygons."""
    return next((each for each in _FORMS if each in habits), "")


_FORMS = (
    "polygons", "mixed_rows", "pose", "confidence", "percent", "pixels", "rotated", "tracks",
    "confident_polygons", "closed_polygons", "pose_unsaid",
)  # fmt: skip
