"""JSON files of any origin: encodings, keys that occur twice, and files of another kind."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from centernet2.data.readers.json_file import read_json
from centernet2.data.readers.layouts import find_splits


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
def test_encodings(tmp_path: Path, content: Any, encoding: str) -> None:
    content["categories"][0]["name"] = "зебра 斑马"
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_json(path) == content


TEXTS = {
    "same key, same value": ('{"images": [{"id": 1, "id": 1}]}', None),
    "key that is not read": ('{"images": [{"id": 1, "note": 1, "note": 2}]}', None),
    "two values": ('{"images": [{"id": 7, "width": 1, "width": 2}]}',
                   "the record with the id 7 has the key 'width' twice"),
    "one and true": ('{"annotations": [{"iscrowd": 1, "iscrowd": true}]}', "key 'iscrowd' twice"),
    "two box modes": ('{"annotations": [{"bbox_mode": 1, "bbox_mode": 0}]}',
                      "key 'bbox_mode' twice"),
    "list twice": ('{"images": [], "images": [{"id": 1}]}', "key 'images' twice"),
    "spaces": ('{"images" : [{"id" : 7, "width" : 1, "width" : 2}]}', "key 'width' twice"),
    "colon in a text": ('{"info": {"a": "b\\": "}, "images": []}', None),
    "truncated": ('{"images": [{"id": 1', "not a JSON file .*char 20"),
    "two files": ('{"images": []}{"images": []}', "not a JSON file .*Extra data"),
    "many digits": ('{"images": ' + 5000 * "9" + "}",
                    r"not a JSON file \(it holds an integer of thousands of digits\); export"),
    "mask of two sizes": ('{"annotations": [{"segmentation": {"size": [1, 2], "size": [2, 1]}}]}',
                          "an object has the key 'size' twice"),
    "deep": ('{"images": ' + 10**6 * "[" + "}", "nested too deeply"),
    "spaces only": ("  \n", "an empty one"),
    "results": ('[{"image_id": 1, "score": 0.5}]', "list of detections; give these to"),
    "number": ("12", "not the value '12'"),
}  # fmt: skip


@pytest.mark.parametrize("what", TEXTS)
def test_texts(tmp_path: Path, what: str) -> None:
    text, message = TEXTS[what]
    path = tmp_path / "a.json"
    path.write_text(text)
    if message is None:
        assert "images" in read_json(path)
    else:
        with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
            read_json(path)


def test_compressed_files_are_named(tmp_path: Path) -> None:
    for compress, name in ((gzip.compress, "gzip"), (bz2.compress, "bzip2")):
        path = tmp_path / "a.json"
        path.write_bytes(compress(b'{"images": []}'))
        with pytest.raises(ValueError, match=f"compressed with {name}; unpack it"):
            read_json(path)


def test_legacy_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"categories": [{"name": "café crème"}]}'.encode("cp1252"))
    with pytest.raises(ValueError, match=r"a\.json, line 1: .*CP1252"):
        read_json(path)


def test_folder_in_place_of_a_file_is_named(tmp_path: Path, content: Any) -> None:
    folder = tmp_path / "annotations" / "instances_train.json"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"instances_train\.json: is a folder, where a file is"):
        read_json(folder)
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    folder.rename(folder.with_name("val.json"))
    assert list(find_splits(tmp_path)) == ["train"]
