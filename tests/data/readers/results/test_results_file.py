"""Results files of many programs, joined to one data set."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import mask as rle

from centernet2.data import DetectionDataset, concatenate
from centernet2.data.readers.coco import load_coco
from centernet2.data.readers.json_records import IdIndex, lenient_integer
from centernet2.data.readers.results import Results, parse_results, read_results
from centernet2.data.user_ids import pack_ids

WIDTH, HEIGHT = 100, 80
CLASSES = {7: "cat", 9: "dog", 11: "owl"}
BOXES = [[4, 5, 20, 30], [50, 10, 45, 40], [30, 40, 25, 35]]
Record = dict[str, Any]


def make_truth(path: Path, images: dict[Any, str], classes: dict[Any, str] = CLASSES) -> Record:
    """Write three boxes in each image, one of each class."""
    boxes = [(image, c, box) for image in images for c, box in zip(classes, BOXES, strict=True)]
    content = {
        "images": [
            {"id": i, "file_name": file, "width": WIDTH, "height": HEIGHT}
            for i, file in images.items()
        ],
        "categories": [{"id": i, "name": name} for i, name in classes.items()],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3]}
            for n, (i, c, box) in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps(content))
    return content


def perfect(content: Record) -> list[Record]:
    return [
        {key: each[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for each in content["annotations"]
    ]


class Sample:
    """A data set, and its objects as detections."""

    def __init__(
        self, folder: Path, images: dict[Any, str], classes: dict[Any, str] = CLASSES
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.content = make_truth(folder / "truth.json", images, classes)
        self.dataset = load_coco(folder / "truth.json", folder, name="t")
        self.found = perfect(self.content)

    def read(self, content: Any) -> Results:
        path = self.folder / "found.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_results(path, self.dataset)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path, {139: "a/x.jpg", 285: "a/y.jpg", 632: "b/000017.png"})


def truth_rows(dataset: DetectionDataset) -> list[list[float]]:
    images = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    scores = np.full(len(images), 0.9)
    return np.column_stack([images, dataset.xywh, scores, dataset.labels]).tolist()


def assert_perfect(sample: Sample, results: Results) -> None:
    assert sorted(results.results.tolist()) == sorted(truth_rows(sample.dataset))


def test_results_of_coco_are_read_as_they_are(sample: Sample) -> None:
    results = sample.read(sample.found)
    assert_perfect(sample, results)
    assert results.masks is None and results.findings == ()


FORMS: dict[str, Callable[[list[Record], Record], Any]] = {
    "annotations": lambda found, truth: {"annotations": found},
    "predictions": lambda found, truth: {"info": {}, "predictions": found},
    "JSON lines": lambda found, truth: "\n".join(map(json.dumps, found)) + "\n\n",
    "byte order mark": lambda found, truth: json.dumps(found).encode("utf-8-sig"),
    "UTF-16": lambda found, truth: json.dumps(found).encode("utf-16"),
    "columns": lambda found, truth: {key: [each[key] for each in found] for key in found[0]},
    "own lists": lambda found, truth: {
        "images": [{**image, "id": 1000 - image["id"]} for image in truth["images"]],
        "categories": [{**each, "id": 18 - each["id"]} for each in truth["categories"]],
        "annotations": [
            {**d, "image_id": 1000 - d["image_id"], "category_id": 18 - d["category_id"]}
            for d in found
        ],
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_file(sample: Sample, form: str) -> None:
    assert_perfect(sample, sample.read(FORMS[form](sample.found, sample.content)))


def changed(sample: Sample, **values: Callable[[Record], Any]) -> list[Record]:
    """Change keys of all detections; None removes a key."""
    new = [{**d, **{key: value(d) for key, value in values.items()}} for d in sample.found]
    return [{key: value for key, value in d.items() if value is not None} for d in new]


FILES = {139: "x", 285: "y", 632: "000017"}
REPAIRS: dict[str, tuple[dict[str, Callable[[Record], Any]], str]] = {
    "image ids as text": ({"image_id": lambda d: str(d["image_id"])}, "id of another type"),
    "image ids as floats": ({"image_id": lambda d: float(d["image_id"])}, ""),
    "stems": ({"image_id": lambda d: FILES[d["image_id"]]}, "file name"),
    "stems, as numbers where they are": (
        {"image_id": lambda d: {632: 17}.get(d["image_id"], FILES[d["image_id"]])},
        "file name",
    ),
    "file names": ({"image_id": lambda d: f"C:\\data\\{FILES[d['image_id']]}.png"}, "file name"),
    "file names beside": (
        {"image_id": lambda d: None, "file_name": lambda d: f"/data/{FILES[d['image_id']]}.jpg"},
        "",
    ),
    "category ids as text": ({"category_id": lambda d: str(d["category_id"])}, "another type"),
    "class names": ({"category_id": lambda d: CLASSES[d["category_id"]]}, "class name"),
    "class names beside": (
        {"category_id": lambda d: None, "category_name": lambda d: CLASSES[d["category_id"]]},
        "",
    ),
    "class names against ids": (
        {"category_id": lambda d: 7, "category_name": lambda d: CLASSES[d["category_id"]]},
        "the class name decides",
    ),
    "numbers from 0": ({"category_id": lambda d: d["category_id"] // 2 - 3}, "0 is 'cat'"),
    "numbers from 1": ({"category_id": lambda d: d["category_id"] // 2 - 2}, "1 is 'cat'"),
    "boxes as text": ({"bbox": lambda d: list(map(str, d["bbox"]))}, "quotes"),
    "scores as text": ({"score": lambda d: "0.9"}, "quotes"),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_values_of_other_programs_are_read_and_counted(
    sample: Sample, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, words = REPAIRS[name]
    results = sample.read(changed(sample, **change))
    assert_perfect(sample, results)
    assert [words in each.advice for each in results.findings] == ([True] if words else [])
    assert (words in caplog.text and "found.json" in caplog.text) if words else not caplog.text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown image": ({"image_id": 140}, "image_id 140, which is not in the data set;"),
    "unknown text": ({"image_id": "z"}, "image_id 'z'"),
    "no image": ({"image_id": None}, "has no image_id"),
    "thousands of digits": ({"image_id": "9" * 5000}, "is of image_id '999"),
    "bool": ({"image_id": True}, "image_id True"),
    "list": ({"image_id": [139]}, r"image_id \[139\]"),
    "float above 2^53": ({"image_id": 2.0**60}, "image_id 1.15"),
    "unknown class": ({"category_id": 90}, "category_id 90"),
    "unknown class name": ({"category_name": "bat", "category_id": 1}, "class name"),
    "no box": ({"bbox": None}, "has no 'bbox'"),
    "three numbers": ({"bbox": [1, 2, 3]}, "which is not four finite numbers"),
    "true in a box": ({"bbox": [1, 2, True, 4]}, "which is not four finite numbers"),
    "text": ({"bbox": "1\n2"}, "which is not four finite numbers"),
    "NaN box": ({"bbox": [1, 2, 3, float("nan")]}, "NaN or infinity in its 'bbox'"),
    "box of a diverged detector": ({"bbox": [1, 2, 1e20, 4]}, "beyond any image"),
    "negative size": ({"bbox": [9, 9, -3, 4]}, r"negative size, \[9, 9, -3, 4\]"),
    "corners of Detectron2": ({"bbox_mode": 0}, "has a bbox_mode that is not 1"),
    "underscore": ({"score": "0_9"}, "the 'score' '0_9', which is not a finite number"),
    "no score": ({"score": None}, "has no 'score'"),
    "NaN score": ({"score": float("nan")}, "NaN or infinity in its 'score'"),
    "percent": ({"score": 90.0}, "score 90, which is not in 0..1"),
    "logit": ({"score": -0.1}, "score -0.1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_detections_are_refused_by_number(sample: Sample, name: str) -> None:
    change, message = REFUSED[name]
    if "category_name" in change:
        sample.found = changed(sample, category_name=lambda d: CLASSES[d["category_id"]])
    sample.found[4] |= change
    with pytest.raises(ValueError, match=message) as error:
        sample.read(sample.found)
    assert "found.json: detection 4 " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is not a COCO results file"),
    (" \n", "the file is empty"),
    ('{"loss": 3}', "an object with the keys 'loss'"),
    ("17", "it holds 17"),
    ("[1]", "detection 0 is 1"),
    ('["\\n"]', "detection 0 is"),
    ("[" * 100_000, "nested too deeply"),
    ('[{"image_id": 139, "score": 0.5, "score": 0.9}]',
     "the record with the image_id 139 has the key 'score' twice, with different values"),
    ('[{"file": "x.jpg", "detections": [{"box": [1, 2, 3, 4], "box": [1, 2, 3, 5]}]}]',
     "the key 'box' twice"),
    ('{"image_id": 1, "score": 1}\n{"image_id": 7, "image_id": 8}', "image_id 8 has the key"),
    ('[{"image_id": ' + "9" * 5000 + "}]", "it holds an integer of thousands of digits"),
    ('{"image_id": 1}\n{"image_id": ' + "9" * 5000 + "}",
     "line 2: not a JSON object .it holds an integer of thousands"),
    ('{"image_id": [1, 2], "bbox": [[1, 2, 3, 4]], "score": [0.5, 0.5]}',
     "its columns have different lengths: 'image_id' 2, 'bbox' 1, 'score' 2"),
    ('{"image_id": 1, "score": 1}\n{"image_id"', "line 2: not a JSON object"),
    ('[{"image_id": 139, "boxes": [[1, 2, 3, 4]], "scores": [1]}]', "for each detection"),
    ("[]\xe9".encode("latin-1"), "the text is not UTF-8"),
])  # fmt: skip
def test_other_files_are_refused(sample: Sample, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        sample.read(content)
    assert "found.json" in str(error.value) and "\n" not in str(error.value)


def test_ground_truth_is_refused_as_results(sample: Sample) -> None:
    for content in (sample.content, sample.content["annotations"]):
        with pytest.raises(ValueError, match="this seems to be a file of ground truth"):
            sample.read(content)


def test_missing_file_is_named(sample: Sample) -> None:
    with pytest.raises(ValueError, match=r"nothing\.json: the results file cannot be opened"):
        parse_results(sample.folder / "nothing.json")


def test_folders_pipes_and_archives_are_refused_as_results(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    os.mkfifo(tmp_path / "b.json")
    (tmp_path / "c.json").write_bytes(gzip.compress(b"[]"))
    for name, problem in {
        "a.json": "is a folder, where a file is needed",
        "b.json": "is not a regular file, where a file is needed",
        "c.json": "the file is compressed with gzip; unpack it",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: {problem}"):
            parse_results(tmp_path / name)


def test_weights_are_refused_as_results(sample: Sample) -> None:
    (sample.folder / "model.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="weights are given as --weights"):
        read_results(sample.folder / "model.pth", sample.dataset)


def test_no_detection_is_a_result(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    assert sample.read([]).results.shape == (0, 7)
    assert "holds no detection" in caplog.text


def test_predictions_of_predict_are_read(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    by_image = [
        {
            "file": f"photos/{FILES[i]}.jpg",
            "height": HEIGHT,
            "width": WIDTH,
            "detections": [
                {
                    "box": [x, y, x + w, y + h],
                    "score": 0.9,
                    "label": 0,
                    "class": CLASSES[d["category_id"]],
                }
                for d in sample.found
                for x, y, w, h in [d["bbox"]]
                if d["image_id"] == i
            ],
        }
        for i in FILES
    ]
    assert_perfect(sample, sample.read(by_image))
    assert "is of `centernet2 predict`" in caplog.text
    by_image[1]["width"] = WIDTH * 2
    with pytest.raises(ValueError, match=r"detection 3 was made on an image of size \[80, 200\]"):
        sample.read(by_image)


@pytest.mark.parametrize(("change", "message"), [
    (lambda x, y, w, h: [x, y, x + w, y + h], r"\[x1, y1, x2, y2\]"),
    (lambda x, y, w, h: [x + w / 2, y + h / 2, w, h], r"\[center x, center y, width, height\]"),
    (lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], "shares of the image"),
    (
        lambda x, y, w, h: [x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT],
        r"found\.json: detection 0 has the bbox .* shares of the image size; multiply",
    ),
])  # fmt: skip
def test_boxes_in_other_units_are_refused(
    sample: Sample, change: Callable[..., list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sample.read(changed(sample, bbox=lambda d: change(*d["bbox"])))


def test_wide_boxes_are_not_taken_for_corners(sample: Sample) -> None:
    large = changed(sample, bbox=lambda d: [5, 5, 98, 70])
    assert sample.read(large).results[:, 3].tolist() == [98] * len(large)


def test_boxes_outside_their_images_are_counted(sample: Sample) -> None:
    sample.found[2]["bbox"] = [300, 20, 30, 30]
    (finding,) = sample.read(sample.found).findings
    assert finding.total == 1 and "resized" in finding.advice


def test_numbers_of_files_decide_where_the_boxes_say_so(tmp_path: Path) -> None:
    """The ids 1, 2, 3 are those of images, and in another order the numbers of their files."""
    sample = Sample(tmp_path, {1: "2.jpg", 2: "3.jpg", 3: "1.jpg"})
    for annotation in sample.content["annotations"]:  # objects at other places in each image
        annotation["bbox"][0] += 0
    shift = {1: 0, 2: 1, 3: 2}
    content = sample.content
    for annotation in content["annotations"]:
        k = shift[annotation["image_id"]]
        annotation["bbox"] = [2 + 33 * k, annotation["bbox"][1], 20, 20]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    sample.dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    by_id = perfect(content)
    assert_perfect(sample, plain := sample.read(by_id))
    assert not plain.findings
    stems = {1: 2, 2: 3, 3: 1}
    by_stem = sample.read([{**d, "image_id": stems[d["image_id"]]} for d in by_id])
    assert_perfect(sample, by_stem)
    assert by_stem.findings[0].total == len(by_id)


def test_shifted_classes_are_noticed(tmp_path: Path) -> None:
    """Ids 0 to 2 in the data, numbers from 1 in the results, and none of the last class."""
    sample = Sample(tmp_path, {1: "x.jpg", 2: "y.jpg"}, {0: "cat", 1: "dog", 2: "owl"})
    found = [{**d, "category_id": d["category_id"] + 1} for d in sample.found]
    results = sample.read([d for d in found if d["category_id"] < 3])
    assert sorted(set(results.results[:, 6])) == [0, 1]
    assert "1 is 'cat'" in results.findings[0].advice


def test_classes_that_never_agree_are_told(sample: Sample) -> None:
    """The ids are those of the data set, in a wrong order."""
    other = {7: 11, 9: 7, 11: 9}
    results = sample.read(changed(sample, category_id=lambda d: other[d["category_id"]]))
    assert len(results.results) == 9
    assert "hardly any detection has the class" in results.findings[0].advice


@pytest.mark.parametrize("key", ["file_name", "image_id"])
@pytest.mark.parametrize("path", ["a/{}.jpg", "/home/me/t/a/{}.jpg", "train/{}.jpg", "a/{}.png"])
def test_images_of_another_folder_are_noticed(tmp_path: Path, key: str, path: str) -> None:
    """Unless the boxes lie on the objects."""
    sample = Sample(tmp_path, {139: "a/x.jpg", 285: "a/y.jpg", 632: "a/z.jpg"})
    names = {139: "x", 285: "y", 632: "z"}
    found = changed(sample, **{key: lambda d: path.format(names[d["image_id"]])})
    assert not [f for f in sample.read(found).findings if f.kind == "other file"]
    elsewhere = [{**each, "bbox": [70, 70, 3, 3]} for each in found]
    noted = [f.total for f in sample.read(elsewhere).findings if f.kind == "other file"]
    assert noted == ([] if path.endswith("a/{}.jpg") else [9])


def test_ids_decide_beside_names_of_supercategories(sample: Sample) -> None:
    names = {7: "animal", 9: "animal", 11: "owl"}
    read = sample.read(changed(sample, category=lambda d: names[d["category_id"]]))
    assert read.results.tolist() == truth_rows(sample.dataset)
    (finding,) = read.findings
    assert finding.total == 6 and "class name is not in the data set" in finding.advice


@pytest.mark.parametrize(("names", "ids"), [
    ({7: "animal", 9: "owl", 11: "owl"}, {7: 7, 9: 9, 11: 11}),  # owl is 11
    ({7: "bird", 9: "fox", 11: "elk"}, {7: 9, 9: 11, 11: 7}),  # never of the objects' classes
])  # fmt: skip
def test_unknown_names_are_refused_where_the_ids_are_contradicted(
    sample: Sample, names: dict[int, str], ids: dict[int, int]
) -> None:
    found = changed(sample, category_name=lambda d: names[d["category_id"]])
    found = [{**each, "category_id": ids[each["category_id"]]} for each in found]
    with pytest.raises(ValueError, match=r"class name '(animal|bird)', which is not in the data"):
        sample.read(found)


def test_ids_of_the_data_may_be_text(tmp_path: Path) -> None:
    sample = Sample(tmp_path, {1: "x.jpg", 2: "y.jpg"})
    texts = {1: "u", 2: "007"}
    sample.dataset = replace(sample.dataset, image_ids=pack_ids(list(texts.values())))
    assert_perfect(sample, sample.read(changed(sample, image_id=lambda d: texts[d["image_id"]])))
    by_number = {1: "u", 2: 7}
    results = sample.read(changed(sample, image_id=lambda d: by_number[d["image_id"]]))
    assert_perfect(sample, results)
    assert results.findings[0].total == 3


def test_zeros_before_an_id_are_kept_in_one_file_and_lost_between_two() -> None:
    """Annotations refer to ids as these are written; other programs write 7 for "007"."""
    index = IdIndex(["007", 8])
    assert [index.find(each) for each in ("007", 7, "7", "8", "008")] == [0, -1, -1, 1, -1]
    texts = ("007", " 7", "-7", "7.0", "")
    assert [lenient_integer(each) for each in texts] == [7, 7, -7, None, None]


def test_numbers_find_only_one_of_two_ids_with_other_zeros(tmp_path: Path) -> None:
    sample = Sample(tmp_path, {1: "x.jpg", 2: "y.jpg"})
    sample.dataset = replace(sample.dataset, image_ids=pack_ids(["07", "007"]))
    with pytest.raises(ValueError, match="is of image_id 7, which"):
        sample.read(changed(sample, image_id=lambda d: 7))


def test_detections_with_a_list_of_their_own_stay_whole(sample: Sample) -> None:
    assert_perfect(sample, sample.read(changed(sample, detections=lambda d: [])))


def test_ids_of_several_data_sets_are_refused(tmp_path: Path) -> None:
    images = {1: "x.jpg", 2: "y.jpg"}
    one, two = (Sample(tmp_path / name, images) for name in ("one", "two"))
    one.dataset = concatenate([one.dataset, two.dataset])
    with pytest.raises(ValueError, match="image_id 1, which several images"):
        one.read(one.found)
    files = [{**d, "file_name": f"two/{images[d['image_id']]}"} for d in one.found]
    assert sorted(set(one.read(files).results[:, 0])) == [2, 3]


def mask_of(box: list[int]) -> np.ndarray:
    x, y, w, h = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    return mask


def compressed(box: list[int]) -> Record:
    return {"size": [HEIGHT, WIDTH], "counts": rle.encode(mask_of(box))["counts"].decode()}


def counts_of(box: list[int]) -> list[int]:
    flat = mask_of(box).ravel(order="F").astype(int)
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return np.diff(edges).tolist()


def outline(box: list[int]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


MASKS: dict[str, Callable[[list[int]], Any]] = {
    "compressed": compressed,
    "size as floats": lambda box: {**compressed(box), "size": [80.0, 100.0]},
    "size as text": lambda box: {**compressed(box), "size": ["80", "100"]},
    "bytes as text": lambda box: {
        **compressed(box),
        "counts": str(compressed(box)["counts"].encode()),
    },
    "list of counts": lambda box: {"size": [HEIGHT, WIDTH], "counts": counts_of(box)},
    "polygons": lambda box: [outline(box)],
    "flat polygon": outline,
    "points": lambda box: [list(map(list, zip(*[iter(outline(box))] * 2, strict=True)))],
    "bitmap": lambda box: mask_of(box).tolist(),
}


def test_masks_in_shares_are_refused(sample: Sample) -> None:
    found = changed(
        sample,
        segmentation=lambda d: [
            [x / (WIDTH, HEIGHT)[i % 2] for i, x in enumerate(outline(d["bbox"]))]
        ],
    )
    with pytest.raises(ValueError, match=r"detection 0 has a polygon in shares .* 9 of 9;"):
        sample.read(found)
    for record in found[1:]:
        record["segmentation"] = [outline(record["bbox"])]
    assert sample.read(found).masks is not None


@pytest.mark.parametrize("form", MASKS)
def test_forms_of_masks(sample: Sample, form: str) -> None:
    found = changed(sample, segmentation=lambda d: MASKS[form](d["bbox"]))
    results = sample.read(found)
    assert_perfect(sample, results)
    assert results.masks == [compressed(d["bbox"]) for d in found]
    assert bool(results.findings) is (form not in ("compressed", "size as floats"))


def test_a_mask_gives_the_box_that_is_missing(sample: Sample) -> None:
    masks = changed(sample, segmentation=lambda d: compressed(d["bbox"]))
    results = sample.read([{k: v for k, v in d.items() if k != "bbox"} for d in masks])
    assert_perfect(sample, results)
    assert results.findings[0].total == len(masks)


def test_a_missing_mask_is_counted(sample: Sample) -> None:
    found = changed(sample, segmentation=lambda d: compressed(d["bbox"]))
    found[5]["segmentation"] = []
    del found[7]["segmentation"]
    results = sample.read(found)
    assert results.masks is not None
    areas = rle.area(results.masks).tolist()
    assert [row for row, area in enumerate(areas) if not area] == [5, 7]
    assert results.findings[0].total == 2
    assert results.findings[0].examples[0].text == "detection 5"


@pytest.mark.parametrize(("mask", "message"), [
    ({"size": [40, 50], "counts": "0"}, r"\[40, 50\].*made on resized images"),
    ({"size": [HEIGHT, WIDTH], "counts": "V1~"}, "damaged run lengths"),
    ({"size": [str(HEIGHT), str(WIDTH)], "counts": "V1~"}, "run lengths; correct or remove it"),
    ({"size": [HEIGHT, WIDTH], "counts": "V139000000000b"}, "damaged run lengths"),
    ({"size": [HEIGHT, WIDTH], "counts": r"b'\x'"}, "damaged run lengths"),
    ({"size": [HEIGHT, WIDTH], "counts": "b'1'2'"}, "damaged run lengths"),
    ({"size": [HEIGHT, WIDTH], "counts": [5, 9]}, "do not add up"),
    ([[1, 2, 3, 4]], "no polygon of three points"),
    ([[1, 2, 3, 4, 5, float("nan")]], "finite numbers"),
    ("mask.png", "neither"),
    (5, "neither"),
])  # fmt: skip
def test_unreadable_masks_are_refused_by_number(sample: Sample, mask: Any, message: str) -> None:
    found = changed(sample, segmentation=lambda d: compressed(d["bbox"]))
    found[3]["segmentation"] = mask
    with pytest.raises(ValueError, match=message) as error:
        sample.read(found)
    assert "found.json: detection 3 " in str(error.value)


@pytest.mark.parametrize("key", ["rotation", "angle"])
def test_rotations_beside_boxes_are_refused(sample: Sample, key: str) -> None:
    sample.found[2][key] = 30
    with pytest.raises(ValueError, match=rf"detection 2 has the {key} 30, which is not read"):
        sample.read(sample.found)
    sample.found[2][key] = 0
    assert_perfect(sample, sample.read(sample.found))


def test_corners_inside_their_images_are_refused(sample: Sample) -> None:
    """No box exceeds its image in either reading; the objects tell which one is meant."""
    for annotation, detection in zip(sample.content["annotations"], sample.found, strict=True):
        annotation["bbox"], detection["bbox"] = [10, 10, 15, 15], [10, 10, 25, 25]
    (sample.dataset.xywh)[:] = [10, 10, 15, 15]
    with pytest.raises(ValueError, match=r"the boxes are \[x1, y1, x2, y2\], as only so"):
        sample.read(sample.found)


def test_corners_of_rows_and_columns_are_refused(sample: Sample) -> None:
    for annotation, detection in zip(sample.content["annotations"], sample.found, strict=True):
        annotation["bbox"], detection["bbox"] = [2, 10, 15, 9], [10, 2, 19, 17]
    (sample.dataset.xywh)[:] = [2, 10, 15, 9]
    with pytest.raises(ValueError, match=r"the boxes are \[y1, x1, y2, x2\], as only so"):
        sample.read(sample.found)


def test_repeated_detections_are_counted(sample: Sample) -> None:
    read = sample.read([*sample.found, *sample.found[:2]])
    (finding,) = read.findings
    assert finding.total == 2 and "equals an earlier one in image, class and box" in finding.advice
