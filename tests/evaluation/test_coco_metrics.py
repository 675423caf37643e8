"""COCO metrics against pycocotools, and the results file."""

import contextlib
import io
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from centernet2.data.annotation_masks import POLYGONS
from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.data.readers.results import read_results
from centernet2.data.user_ids import pack_ids
from centernet2.evaluation import coco_results as module
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.coco_results import encode_mask, encode_masks, results_of, write_results
from centernet2.evaluation.matching import match_detections
from centernet2.evaluation.scoring import score_results
from centernet2.evaluation.stream import ImageResult
from tests.helpers.evaluation import (
    in_positions,
    random_results,
    random_set,
    write_random_annotations,
)

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def oracle(
    annotations: Path, results: Any, max_detections: int = 100, kind: str = "bbox"
) -> dict[str, float]:
    """Metrics by pycocotools."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is the oracle of this test")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(annotations))
        evaluator = cocoeval.COCOeval(truth, truth.loadRes(results), kind)
        evaluator.params.maxDets = [1, 10, max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]

    def mean(values: np.ndarray) -> float:
        return 100 * values[values > -1].mean() if (values > -1).any() else math.nan

    metrics = [
        mean(precision[..., 0, 2]),
        mean(precision[0, ..., 0, 2]),
        mean(precision[5, ..., 0, 2]),
    ]
    metrics += [mean(precision[..., area, 2]) for area in (1, 2, 3)]
    metrics += [mean(recall[..., 0, count]) for count in range(3)]
    metrics += [mean(recall[..., area, 2]) for area in (1, 2, 3)]
    named = {f"{kind}/{name}": value for name, value in zip(NAMES, metrics, strict=True)}
    for index, category in enumerate(truth.loadCats(sorted(truth.getCatIds()))):
        named[f"{kind}/AP/{category['name']}"] = mean(precision[:, :, index, 0, 2])
    return named


def assert_equal_metrics(metrics: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert metrics[name] == value or (math.isnan(metrics[name]) and math.isnan(value)), name


@pytest.mark.parametrize(("seed", "decimals", "noise"), [(0, 6, 50), (1, 1, 200), (2, 2, 4000)])
def test_random_sets_as_pycocotools(tmp_path: Path, seed: int, decimals: int, noise: int) -> None:
    rng = np.random.default_rng(seed)
    content = write_random_annotations(tmp_path / "truth.json", rng, images=20, classes=5)
    results = random_results(rng, content, decimals=decimals, noise=noise)
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    metrics = coco_metrics(dataset, in_positions(dataset, results), max_detections=100)
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", results))
    assert 1 < metrics["bbox/AP"] < 99  # a comparison of zeros would prove nothing
    assert math.isnan(metrics["bbox/AP/class 4"])


def test_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    content = write_random_annotations(tmp_path / "truth.json", rng, images=20, classes=5)
    for records in (content["images"], content["categories"], content["annotations"]):
        rng.shuffle(records)
    (tmp_path / "truth.json").write_text(json.dumps(content))
    results = random_results(rng, content, decimals=1, noise=300)
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    metrics = coco_metrics(dataset, in_positions(dataset, results))
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", results))


def test_coco_images_equal_pycocotools(shared: Path) -> None:
    annotations = shared / "data/coco_tiny/coco2017/annotations/instances_val2017.json"
    dataset = load_coco(annotations, annotations.parent, name="coco_tiny")
    results = random_results(
        np.random.default_rng(3), json.loads(annotations.read_text()), decimals=3, noise=2000
    )
    assert_equal_metrics(
        coco_metrics(dataset, in_positions(dataset, results), max_detections=100),
        oracle(annotations, results),
    )


@pytest.mark.parametrize("kind", ["text", "negative", "beyond 2^53", "beyond 2^63"])
def test_ids_of_any_kind_give_the_same_metrics(tmp_path: Path, kind: str) -> None:
    dataset, results = random_set(tmp_path, 4, images=12, classes=4, decimals=2, noise=100)
    expected = coco_metrics(dataset, results)
    change = {
        "text": lambda i: f"{i:05d}.jpg",
        "negative": lambda i: i - 1000,
        "beyond 2^53": lambda i: 2**60 + i,
        "beyond 2^63": lambda i: 2**64 + i,
    }[kind]
    ids = [change(dataset.image_id(i)) for i in range(len(dataset))]
    renamed = replace(dataset, image_ids=pack_ids(ids), category_ids=tuple(map(change, range(4))))
    assert coco_metrics(renamed, results) == pytest.approx(expected, abs=0, nan_ok=True)
    write_results(tmp_path / "p.json", [ImageResult(results, None, None)], **ids_of(renamed))
    assert np.array_equal(read_results(tmp_path / "p.json", renamed).results, results)
    written = {each["image_id"] for each in json.loads((tmp_path / "p.json").read_text())}
    assert written <= set(ids) and len(written) > 6


def test_annotation_file_is_read_once(tmp_path: Path) -> None:
    """Spoil the file after it was read: the index alone is evaluated."""
    dataset, results = random_set(tmp_path, 4, images=5, classes=3, decimals=2, noise=10)
    (tmp_path / "truth.json").write_text("nothing")
    assert coco_metrics(dataset, results)["bbox/AP"] > 0
    assert len(match_detections(dataset, results).rows) > 0


def test_ap_counts_100_detections_per_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    content = write_random_annotations(tmp_path / "truth.json", rng, images=4, classes=3)
    content["categories"] = [{"id": 2, "name": "class 0"}]
    content["annotations"] = [{**a, "category_id": 2} for a in content["annotations"]]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    results = random_results(rng, content, decimals=3, noise=1200)
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    metrics = coco_metrics(dataset, in_positions(dataset, results), max_detections=300)
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", results))
    assert metrics["bbox/AR300"] > metrics["bbox/AR100"]
    assert "bbox/AR50" not in coco_metrics(dataset, np.zeros((0, 7)), max_detections=50)
    assert metrics["bbox/AR300"] == pytest.approx(
        oracle(tmp_path / "truth.json", results, 300)["bbox/AR100"]
    )


def test_subset_counts_its_own_images(tmp_path: Path) -> None:
    content = write_random_annotations(
        tmp_path / "truth.json", np.random.default_rng(6), images=6, classes=3
    )
    first = content["images"][0]["id"]
    perfect = [
        (first, *a["bbox"], 0.9, a["category_id"])
        for a in content["annotations"]
        if a["image_id"] == first
    ]
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    metrics = coco_metrics(
        dataset.subset(np.array([0])),
        in_positions(dataset, np.array(perfect, dtype=np.float64)),
        max_detections=100,
    )
    assert metrics["bbox/AP"] == pytest.approx(100)


def test_metrics_without_detections(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_random_annotations(tmp_path / "truth.json", np.random.default_rng(7), images=3, classes=2)
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t")
    assert coco_metrics(dataset, np.zeros((0, 7)), max_detections=100)["bbox/AP"] == 0
    assert capfd.readouterr() == ("", "")


def test_results_file_keeps_every_digit(tmp_path: Path) -> None:
    detections = {
        "boxes": torch.tensor([[1.1, 2.7, 30.3, 40.9], [0.0, 0.0, 5.0, 7.0]]),
        "scores": torch.tensor([0.87654321, 0.1]),
        "labels": torch.tensor([1, 0]),
    }
    results = results_of(detections, image=0)
    assert results[1].tolist() == [0, 0, 0, 5, 7, pytest.approx(0.1), 0]
    names = {"image_ids": [42], "category_ids": (3, 90), "class_names": ("ant", "zebra")}
    write_results(tmp_path / "predictions.json", [ImageResult(results, None, None)], **names)
    record = json.loads((tmp_path / "predictions.json").read_text())[0]
    assert (record["image_id"], record["category_id"]) == (42, 90)
    assert isinstance(record["category_id"], int) and record["category_name"] == "zebra"
    with pytest.raises(ValueError, match="shorter"):  # one mask for two detections
        one = ImageResult(results, [{"size": [1, 1], "counts": "0"}], None)
        write_results(tmp_path / "masks.json", [one], **names)
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.json"]


def ids_of(dataset: DetectionDataset) -> dict[str, Any]:
    """The ids and classes of the user's files, for `write_results`."""
    image_ids = [dataset.image_id(i) for i in range(len(dataset))]
    classes = {"category_ids": dataset.category_ids, "class_names": dataset.class_names}
    return {"image_ids": image_ids, **classes}


def random_blob(rng: np.random.Generator, box: list[float], size: tuple[int, int]) -> torch.Tensor:
    """An ellipse in a box [x, y, width, height] that is moved a little: bool [H, W]."""
    x, y, w, h = np.array(box) + rng.normal(0, 3, 4)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    inside = ((columns - x - w / 2) / max(w / 2, 1)) ** 2 + (
        (rows - y - h / 2) / max(h / 2, 1)
    ) ** 2 <= 1
    return torch.from_numpy(inside)


def write_masks(
    path: Path, rng: np.random.Generator
) -> tuple[dict[str, Any], np.ndarray, list[Any]]:
    """Ground truth of polygons, for crowds of run lengths, and detections near it."""
    content = write_random_annotations(path, rng, images=8, classes=4)
    rows: list[Any] = []
    masks: list[Any] = []
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [
            [x, y + h / 2, x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h]
        ]
        if annotation["iscrowd"]:
            flat = random_blob(rng, annotation["bbox"], (480, 500)).numpy().ravel(order="F")
            changes = np.flatnonzero(np.diff(flat.astype(int))) + 1
            edges = [0, *([0] if flat[0] else []), *changes, len(flat)]
            annotation["segmentation"] = {"size": [480, 500], "counts": np.diff(edges).tolist()}
        for _ in range(int(rng.integers(0, 3))):
            masks.append(encode_mask(random_blob(rng, annotation["bbox"], (480, 500))))
            rows.append(
                (annotation["image_id"], x, y, w, h, rng.random(), annotation["category_id"])
            )
    path.write_text(json.dumps(content))
    return content, np.array(rows, dtype=np.float64), masks


@pytest.mark.parametrize("seed", [0, 1])
def test_masks_equal_pycocotools(tmp_path: Path, seed: int) -> None:
    _, rows, masks = write_masks(tmp_path / "truth.json", np.random.default_rng(seed))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t", masks=True)
    results = in_positions(dataset, rows)
    write_results(
        tmp_path / "predictions.json", [ImageResult(results, masks, None)], **ids_of(dataset)
    )
    read = read_results(tmp_path / "predictions.json", dataset)
    assert read.masks == masks and np.array_equal(read.results, results)

    metrics = coco_metrics(dataset, results, max_detections=100, masks=masks)
    records = json.loads((tmp_path / "predictions.json").read_text())
    without_boxes = [{k: v for k, v in record.items() if k != "bbox"} for record in records]
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", without_boxes, kind="segm"))
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", rows))
    assert 1 < metrics["segm/AP"] < 99 and metrics["segm/AP"] != metrics["bbox/AP"]


def test_polygons_of_many_decimals_equal_pycocotools(tmp_path: Path) -> None:
    """Move corners to where rounding to three decimals would move a pixel."""
    rng = np.random.default_rng(5)
    content, rows, masks = write_masks(tmp_path / "truth.json", rng)
    for annotation in content["annotations"]:
        if isinstance(annotation["segmentation"], list):
            corners = np.array(annotation["segmentation"][0]).round()
            annotation["segmentation"] = [(corners - 0.1 - 1e-9).tolist()]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t", masks=True)
    row = int(np.flatnonzero(dataset.masks.kinds == POLYGONS)[0]) if dataset.masks else -1
    assert dataset.segmentation(row)[0][0] % 1 == pytest.approx(0.9 - 1e-9, abs=1e-12)
    metrics = coco_metrics(dataset, in_positions(dataset, rows), masks=masks)
    records = [
        {"image_id": int(row[0]), "category_id": int(row[6]), "score": row[5], "segmentation": mask}
        for row, mask in zip(rows.tolist(), masks, strict=True)
    ]
    assert_equal_metrics(metrics, oracle(tmp_path / "truth.json", records, kind="segm"))


def test_masks_without_ground_truth_are_told(tmp_path: Path) -> None:
    content, rows, masks = write_masks(tmp_path / "truth.json", np.random.default_rng(2))
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t", masks=True)
    results = in_positions(dataset, rows)
    score = partial(score_results, max_detections=100, output_dir=None)
    scored = score(dataset, results, masks)
    assert scored.metrics["bbox/AP"] > 0
    assert not any(name.startswith("segm/") for name in scored.metrics)
    assert scored.notes == ["t has no masks: the masks of the detections are not evaluated"]
    assert score(dataset, results, None).notes == []


def test_detections_without_masks_are_told(tmp_path: Path) -> None:
    _, rows, _ = write_masks(tmp_path / "truth.json", np.random.default_rng(2))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t", masks=True)
    scored = score_results(
        dataset, in_positions(dataset, rows), None, max_detections=100, output_dir=None
    )
    assert scored.notes == ["the detections have no masks: those of t are not evaluated"]


def test_objects_without_a_mask_are_told(tmp_path: Path) -> None:
    """Detect all objects perfectly; the mask of the one without a mask is wrong."""
    box, square = [10, 10, 20, 20], [[10, 10, 30, 10, 30, 30, 10, 30]]
    one = {"category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 50, "width": 60} for i in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {**one, "id": 1, "image_id": 1, "segmentation": square},
            {**one, "id": 2, "image_id": 2},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = load_coco(tmp_path / "truth.json", tmp_path, name="t", masks=True)
    pixels = torch.zeros(50, 60, dtype=torch.bool)
    pixels[10:30, 10:30] = True
    masks = [encode_mask(pixels), encode_mask(pixels & (torch.arange(60) < 25))]
    results = np.array([[0, *box, 0.8, 0], [1, *box, 0.9, 0]])
    scored = score_results(dataset, results, masks, max_detections=100, output_dir=None)
    assert scored.metrics["segm/AP"] == pytest.approx(scored.metrics["bbox/AP"])
    assert scored.metrics["segm/AP"] == pytest.approx(100)
    assert len(scored.notes) == 1 and "1 of 2 objects of t have no mask" in scored.notes[0]


def test_masks_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(9, 2, generator=generator) * 20
    detections = {
        "boxes": torch.cat(
            [corners, corners + 5 + 20 * torch.rand(9, 2, generator=generator)], dim=1
        ),
        "scores": torch.rand(9),
        "labels": torch.zeros(9, dtype=torch.int64),
        "box_masks": torch.rand(9, 28, 28, generator=generator),
    }
    whole = encode_masks(detections, (40, 50))
    pasted: list[int] = []
    paste = module.paste  # by the kernel of the device

    def counted(part: Any, size: tuple[int, int]) -> Any:
        pasted.append(len(part["boxes"]))
        return paste(part, size)

    monkeypatch.setattr(module, "paste", counted)
    monkeypatch.setattr(module, "PASTED_PIXELS", 40 * 50 * 2)
    assert encode_masks(detections, (40, 50)) == whole and len(whole or ()) == 9
    assert pasted == [2, 2, 2, 2, 1]
    assert whole is not None and whole[0]["size"] == [40, 50]
    assert (
        encode_masks({key: detections[key] for key in ("boxes", "scores", "labels")}, (40, 50))
        is None
    )
    none = {key: value[:0] for key, value in detections.items()}
    assert encode_masks(none, (40, 50)) == []
