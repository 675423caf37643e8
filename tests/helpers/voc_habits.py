"""Pascal VOC folders as other tools write them: a truth, and the habits of these tools."""

import re
from pathlib import Path
from random import Random
from xml.sax.saxutils import escape

from tests.helpers.coco_habits import write_extra_files
from tests.helpers.random_truth import Box, TrueImage, Truth, write_image

SUFFIXES = (".jpg", ".png", ".JPG", ".jpeg")
VOC_HABITS = (
    "encoding", "no_declaration", "extra_files", "no_size", "zero_size", "size_as_text", "floats",
    "exchanged_corners", "two_boxes", "difficult_words", "no_difficult", "file_name_path",
    "wrong_file_name", "other_fields", "names_with_suffix", "flags_in_lists", "more_space",
    "broken_number", "no_name", "not_xml", "folders_by_split", "repeated_lines", "second_xml",
    "upper_tags", "namespace", "comments", "exchanged_size", "upper_suffix", "list_of_windows",
    "class_lists", "polygons", "rotated_boxes", "deleted_objects", "turned", "damaged_exif",
    "parts", "images_folder", "inner_folders", "devkit", "counts_from_one", "cdata", "cameras",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "gbk", "cp1252", "shift_jis")


def write_voc_truth(truth: Truth, root: Path, habits: list[str], rng: Random) -> None:
    """Write a truth as Pascal VOC with these habits; crowds are not among its objects."""
    suffix = rng.choice(SUFFIXES)
    by_split = "folders_by_split" in habits
    inner = "inner_folders" in habits and not by_split
    root = root / "VOCdevkit" / "VOC2007" if "devkit" in habits else root
    for split, images in truth.splits.items():
        for image in images:
            pictures = "images" if "images_folder" in habits else "JPEGImages"
            xml, folder = root / "Annotations", root / pictures
            if by_split:
                xml = folder = root / split
            if inner:
                xml, folder = xml / split, folder / split
            if "cameras" in habits:
                camera = rng.choice(("left", "right"))
                xml, folder = xml / camera, folder / camera
            write_image(folder / f"{image.stem}{suffix}", image, habits)
            end = "XML" if "upper_suffix" in habits else "xml"
            _write_xml(xml / f"{image.stem}.{end}", image, suffix, habits, rng)
            if "second_xml" in habits and rng.random() < 0.3:
                copied = (xml / f"{image.stem}.{end}").read_bytes()
                (xml / f"{image.stem} (1).{end}").write_bytes(copied)
        if not (by_split or inner):
            _write_list(root / "ImageSets" / "Main" / f"{split}.txt", images, suffix, habits)
    if "extra_files" in habits:
        write_extra_files(root, rng)


def _write_list(path: Path, images: list[TrueImage], suffix: str, habits: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [each.stem + (suffix if "names_with_suffix" in habits else "") for each in images]
    flag = "  1" if "flags_in_lists" in habits else ""
    names *= 2 if "repeated_lines" in habits else 1
    text = "".join(f"{name}{flag}\n" for name in names)
    content = text.encode()
    if "list_of_windows" in habits:
        content = f"\n{text}\n".replace("\n", "\r\n").encode("utf-8-sig")
    path.write_bytes(content)
    if "class_lists" in habits:
        (path.parent / f"cat_{path.stem}.txt").write_text("".join(f"{x} -1\n" for x in names))


def _write_xml(path: Path, image: TrueImage, suffix: str, habits: list[str], rng: Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(_object(name, box, habits, rng) for name, box in image.objects)
    name = escape(image.stem) + suffix
    if "file_name_path" in habits:
        name = f"C:\\photos\\{name}"
    if "wrong_file_name" in habits:
        name = "other.gif"
    text = f"<annotation><filename>{name}</filename>{_size(image, habits)}{objects}</annotation>"
    if "other_fields" in habits:
        text = text.replace("</filename>", "</filename><path>/x</path><segmented>0</segmented>")
    if "counts_from_one" in habits:
        source = "<source><database>The VOC2007 Database</database></source>"
        text = text.replace("</filename>", f"</filename>{source}")
    if "namespace" in habits:
        text = text.replace("<annotation>", '<annotation xmlns="http://example.org/a">')
    if "comments" in habits:
        text = text.replace("</filename>", "</filename><!-- <object> of a tool -->")
    if "upper_tags" in habits:
        text = re.sub(r"</?[a-z]+", lambda match: match[0].upper(), text)
    if "not_xml" in habits and rng.random() < 0.3:
        text = text[:-5]
    encoding = rng.choice(ENCODINGS) if "encoding" in habits else "utf-8"
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        content, encoding = text.encode(), "utf-8"
    if "no_declaration" not in habits or encoding not in ("utf-8", "utf-8-sig"):
        declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n'
        content = (declared + text).encode(encoding)
    path.write_bytes(content)


def _size(image: TrueImage, habits: list[str]) -> str:
    width, height = str(image.width), str(image.height)
    if "exchanged_size" in habits and "turned" not in habits:  # together they are ambiguous
        width, height = height, width
    if "no_size" in habits:
        return ""
    if "zero_size" in habits:
        width = height = "0"
    if "size_as_text" in habits:
        width = "wide"
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def _object(name: str, box: Box, habits: list[str], rng: Random) -> str:
    text = escape(name)
    if "more_space" in habits:
        text = f"\n  {text} "
    if "cdata" in habits:
        text = f"<![CDATA[{name}]]>"
    if "no_name" in habits and rng.random() < 0.2:
        text = ""
    boxes = [_box(box, habits, rng)]
    if "two_boxes" in habits and rng.random() < 0.3:
        boxes *= 2
    difficult = "<difficult>0</difficult>"
    if "difficult_words" in habits:
        difficult = rng.choice(("<difficult>false</difficult>", "<difficult/>", difficult))
    if "no_difficult" in habits:
        difficult = ""
    found = f"<object><name>{text}</name>{difficult}{''.join(boxes)}</object>"
    if "parts" in habits:
        part = f"<part><name>head</name>{_box((0, 0, 3, 3), habits, rng)}</part>"
        found = found.replace("</object>", f"{part}</object>")
    if "deleted_objects" in habits and rng.random() < 0.3:
        found += found.replace("</object>", "<deleted>1</deleted></object>")
    return found


def _box(box: Box, habits: list[str], rng: Random) -> str:
    x, y, w, h = box
    if "polygons" in habits:
        points = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
        return f"<polygon>{''.join(f'<pt><x>{a}</x><y>{b}</y></pt>' for a, b in points)}</polygon>"
    if "rotated_boxes" in habits:
        sides = f"<w>{w}</w><h>{h}</h><angle>0</angle>"
        return f"<robndbox><cx>{x + w / 2}</cx><cy>{y + h / 2}</cy>{sides}</robndbox>"
    if "counts_from_one" in habits:
        x, y, w, h = x + 1, y + 1, w - 1, h - 1
    edges = {"xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}
    if "exchanged_corners" in habits and rng.random() < 0.5:
        edges["xmin"], edges["xmax"] = edges["xmax"], edges["xmin"]
    values = {k: f"{v:.4f}" if "floats" in habits else str(v) for k, v in edges.items()}
    if "broken_number" in habits and rng.random() < 0.2:
        values["xmax"] = rng.choice(("", "abc", "nan", "1,5"))
    return f"<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in values.items())}</bndbox>"
