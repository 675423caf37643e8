"""Name annotations in formats that are not read, for the error that refuses them."""

from pathlib import Path

from centernet2.files import files_below, is_image_file, printable
from centernet2.text_files import unicode_encoding

READ_BYTES = 2**20  # of a JSON file: its first records
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
EXPORT = "export or convert it to COCO, YOLO or Pascal VOC"
SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".parquet"), f"a table; {EXPORT}"),
    **dict.fromkeys((".tfrecord", ".tfrecords", ".record"), f"a file of TensorFlow; {EXPORT}"),
    **dict.fromkeys((".jsonl", ".ndjson"), f"a file of JSON lines; {EXPORT}"),
    ".xml": "an XML file in a folder that is not read; put Pascal VOC's into Annotations/",
}
COCO_WORDS = ('"images"', '"image_id"')
JSON_WORDS = {  # of one record of each format
    "LabelMe": ('"shapes"', '"imagePath"'),
    "VGG Image Annotator": ('"regions"', '"filename"'),
    "CreateML": ('"coordinates"', '"label"'),
    "Label Studio": ('"result"', '"data"'),
    "Supervisely": ('"objects"', '"classTitle"'),
    "Datumaro": ('"items"', '"categories"'),
}


def describe_other_format(path: Path) -> str:
    """Say what a file or folder is or holds, and what to do; empty if unknown."""
    if path.is_file():
        found = "" if path.suffix.lower() == ".xml" else _describe_file(path)
        return f"it is {found}" if found else ""
    files = [each for each in files_below(path) if each.name[0] != "." and each.is_file()]
    for file in sorted(files, key=lambda each: each.suffix.lower() in ARCHIVES):
        found = _describe_file(file)
        if found:
            return f"it holds {printable(file.relative_to(path))}, {found}"
    if any(map(is_image_file, files)):
        return "it holds images, but no annotations; add these as COCO, YOLO or Pascal VOC"
    return ""


def _describe_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "an archive; unpack it, and give the folder"
    return _describe_json(path) if suffix == ".json" else SUFFIXES.get(suffix, "")


def _describe_json(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(READ_BYTES)
    encoding, start = unicode_encoding(content)
    text = content[start:].decode(encoding, errors="ignore")
    if any(word in text for word in COCO_WORDS):
        return ""
    for name, words in JSON_WORDS.items():
        if all(word in text for word in words):
            return f"a file of {name}; {EXPORT}"
    return ""
