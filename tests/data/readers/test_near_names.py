"""Names that nearly fit: file names in COCO files, keys of records, rotations beside boxes."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from centernet2.data.check import examine_dataset
from centernet2.data.readers.splits import load_split
from tests.helpers.data import Content, change, read_content, write_dataset

OTHER_NAMES = "file names that differ from those of the images"


def found(content: Content) -> dict[str, str]:
    """Return how training treats each kind of problem."""
    findings = read_content(content).dataset.findings
    return {each.kind: each.action for each in findings}


def spellings(key: str) -> list[str]:
    """Return a key with capital letters at some places, sorted."""
    words = map("".join, product(*zip(key.upper(), key, strict=True)))
    return sorted(word for word in words if word != key)


def load_renamed(folder: Path, content: Content, names: dict[str, str]) -> Any:
    """Load a training split whose file names differ from those of its images."""
    for split in ("train", "val"):
        path = write_dataset(folder, content, split)
        text = path.read_text()
        for old, new in names.items():
            text = text.replace(json.dumps(old), json.dumps(new))
        path.write_text(text)
    return load_split(folder, "train", masks=False)


@pytest.mark.parametrize(
    "name", ["WIDE.PNG", "Wide.jpg", "wide", " wide.png ", "wide%2Epng", "wide.png?raw=1"]
)
def test_file_names_that_nearly_fit_are_found(tmp_path: Path, content: Content, name: str) -> None:
    dataset = load_renamed(tmp_path, content, {"wide.png": name})
    assert [Path(dataset.image_path(i)).name for i in range(3)] == [
        "tall.png", "empty.png", "wide.png",
    ]  # fmt: skip
    (finding,) = dataset.findings
    assert (finding.kind, finding.total, finding.action) == (OTHER_NAMES, 1, "repairs")
    assert name in finding.examples[0].text


def test_names_that_are_too_long_for_a_file_are_shortened(tmp_path: Path, content: Content) -> None:
    own = [each["file_name"] for each in content["images"]]
    query = f"X-Amz-Signature={'0f' * 200}"
    names = {name: f"https://bucket.example/{name}?{query}" for name in own}
    dataset = load_renamed(tmp_path, content, names)
    assert all(dataset.image_path(i).is_file() for i in range(3))
    assert {each.kind: each.total for each in dataset.findings} == {OTHER_NAMES: 3}


@pytest.mark.parametrize("key", ["fileName", "filename", "File_Name"])
@pytest.mark.parametrize("name", ["wide.png", "/data/upload/7/wide.png", "wide%2Epng"])
def test_file_names_with_a_key_in_other_letters_are_read(
    tmp_path: Path, content: Content, key: str, name: str
) -> None:
    dataset = load_renamed(tmp_path, content, {"wide.png": name, "file_name": key})
    assert [dataset.image_path(i).is_file() for i in range(3)] == [True, True, True]
    counted = {each.kind: each.total for each in dataset.findings if each.kind != OTHER_NAMES}
    assert counted == {"keys in other letters": 3}


@pytest.mark.parametrize("images", [3, True, {}, "x", None])
def test_images_that_are_no_list_are_refused(
    tmp_path: Path, content: Content, images: object
) -> None:
    write_dataset(tmp_path, content, "val")
    path = write_dataset(tmp_path, content)
    path.write_text(json.dumps({**content, "images": images}))
    with pytest.raises(ValueError, match=r"instances_train\.json: .*'images' is"):
        load_split(tmp_path, "train", masks=False)


def test_broken_link_is_a_missing_image(tmp_path: Path, content: Content) -> None:
    write_dataset(tmp_path, content, "val")
    write_dataset(tmp_path, content)
    (tmp_path / "images" / "wide.png").unlink()
    (tmp_path / "images" / "wide.png").symlink_to(tmp_path / "nowhere.png")
    assert not load_split(tmp_path, "train", masks=False).findings


def test_images_in_folders_below_are_found(tmp_path: Path, content: Content) -> None:
    """Some tools leave the folders of the images out; a name in two folders is ambiguous."""
    write_dataset(tmp_path, content, "val")
    write_dataset(tmp_path, content)
    for name in ("a/wide.png", "b/tall.png", "a/empty.png", "b/empty.png"):
        target = tmp_path / "images" / "task" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tmp_path / "images" / target.name).read_bytes())
    for path in (tmp_path / "images").glob("*.png"):
        path.unlink()
    dataset = load_split(tmp_path, "train", masks=False)
    assert [str(dataset.image_path(i).relative_to(tmp_path)) for i in range(3)] == [
        "images/task/b/tall.png", "images/empty.png", "images/task/a/wide.png",
    ]  # fmt: skip
    (finding,) = dataset.findings
    assert (finding.kind, finding.total) == ("file names without the folder of the image", 2)
    assert finding.action == "repairs"


def test_images_of_several_folders_do_not_become_one(tmp_path: Path, content: Content) -> None:
    """One of them was written over the others where the folders were lost."""
    images = [{**each, "file_name": f"{i}/a.png"} for i, each in enumerate(content["images"])]
    for split in ("train", "val"):
        path = tmp_path / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**content, "images": images}))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"images were not found, such as .*1/a\.png"):
        load_split(tmp_path, "train", masks=False)


def test_a_file_is_not_taken_for_two_images(tmp_path: Path, content: Content) -> None:
    """tall.jpg is missing; it is not tall.png, which is another image."""
    dataset = load_renamed(tmp_path, content, {"wide.png": "tall.jpg"})
    names = [Path(dataset.image_path(i)).name for i in range(3)]
    assert names == ["tall.png", "empty.png", "tall.jpg"] and not dataset.findings


def test_two_files_that_nearly_fit_are_not_chosen_from(tmp_path: Path, content: Content) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "Wide.png").write_bytes(b"")
    dataset = load_renamed(tmp_path, content, {"wide.png": "WIDE.png"})
    assert Path(dataset.image_path(2)).name == "WIDE.png" and not dataset.findings


@pytest.mark.parametrize("key", ["isCrowd", "is_crowd", "ISCROWD", "is-crowd"])
def test_keys_in_other_letters_are_read(content: Content, key: str) -> None:
    for record in content["annotations"]:
        record[key] = record.pop("iscrowd")
    records = read_content(content)
    assert records.dataset.crowd.tolist() == [True, False, False, True]
    (finding,) = records.dataset.findings
    assert (finding.kind, finding.total, finding.action) == ("keys in other letters", 4, "repairs")
    assert finding.advice == "they are read as iscrowd"


def test_first_of_several_keys_in_other_letters_is_read(content: Content) -> None:
    """Another one would be read in each process, if their hashes decided."""
    for record in content["annotations"]:
        x, *rest = record.pop("bbox")
        record.update({key: [x + i, *rest] for i, key in enumerate(spellings("bbox"))})
        crowd = record.pop("iscrowd")
        record.update(
            {key: crowd if i == 0 else 1 - crowd for i, key in enumerate(spellings("iscrowd"))}
        )
    dataset = read_content(content).dataset
    assert dataset.crowd.tolist() == [True, False, False, True]
    assert sorted(dataset.boxes()[:, 0].tolist()) == [0, 0, 4, 30]


@pytest.mark.parametrize("key", ["rotation", "angle"])
@pytest.mark.parametrize("value", [30, -0.5, "30", [30]])
def test_rotations_beside_boxes_are_refused(content: Content, key: str, value: Any) -> None:
    assert found(change(content, 0, **{key: value})) == {
        f"boxes that are rotated by '{key}'": "refuses"
    }


@pytest.mark.parametrize("value", [0, 0.0, "0", None, ""])
def test_rotations_by_nothing_are_none(content: Content, value: Any) -> None:
    assert not found(change(content, 0, rotation=value))


def test_ignored_objects_are_counted(content: Content) -> None:
    change(change(content, 0, ignore=1), 1, ignore=1)  # the second is a crowd
    (finding,) = read_content(content).dataset.findings
    assert (finding.total, finding.action) == (1, "keeps")
    assert finding.kind == "annotations that are marked as ignored"


@pytest.mark.parametrize("broken", ["", "{", '{"images": [', "\x00"])
def test_a_broken_split_is_named(tmp_path: Path, content: Content, broken: str) -> None:
    path = write_dataset(tmp_path, content, "val")
    path.rename(tmp_path / "val.json")
    (tmp_path / "train.json").write_text(broken)
    with pytest.raises(ValueError, match=r"train\.json: not a JSON file"):
        load_split(tmp_path, "train", masks=False)


@pytest.mark.parametrize("split", ["train", "val"])
def test_check_says_that_no_split_validates(tmp_path: Path, content: Content, split: str) -> None:
    write_dataset(tmp_path, content, split)
    kinds = [each.kind for each in examine_dataset(tmp_path).findings]
    assert ("no validation split" in kinds) == (split == "train")
