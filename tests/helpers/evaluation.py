"""Random ground truth and detections, a noise data set, and checks of HTML pages."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import centernet2
from centernet2.data.readers.coco import DetectionDataset, load_coco
from centernet2.evaluation.analysis import analyze
from centernet2.evaluation.coco_metrics import coco_metrics
from centernet2.evaluation.stage_metrics import bin_scores
from centernet2.models.detector import Detector
from centernet2.structures import FloatArray

SMALL_INPUT = [
    "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96", "DATALOADER.NUM_WORKERS", "0",
]  # fmt: skip
NOISE_SIZES = [(40, 64), (64, 40), (48, 48), (40, 60), (64, 44)]  # height, width


def write_random_annotations(
    path: Path, rng: np.random.Generator, *, images: int, classes: int
) -> dict[str, Any]:
    """Write random boxes and crowds; some images and the last class have none."""
    annotations = []
    for image_id in range(1, images + 1):
        for _ in range(0 if image_id % 7 == 0 else int(rng.integers(1, 25))):
            x, y = rng.integers(0, 300, 2).tolist()
            w, h = rng.integers(4, 200, 2).tolist()
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id * 10,
                 "category_id": 3 * int(rng.integers(0, classes - 1)) + 2, "bbox": [x, y, w, h],
                 "area": w * h * float(rng.uniform(0.4, 1)), "iscrowd": int(rng.random() < 0.08)},
            )  # fmt: skip
    content = {
        "images": [
            {"id": i * 10, "file_name": f"{i}.jpg", "height": 480, "width": 500}
            for i in range(1, images + 1)
        ],
        "categories": [{"id": 3 * i + 2, "name": f"class {i}"} for i in range(classes)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return content


def random_results(
    rng: np.random.Generator, content: dict[str, Any], *, decimals: int, noise: int
) -> np.ndarray:
    """Make detections: moved objects, duplicates, noise; few decimals give ties."""
    annotations, images = content["annotations"], content["images"]
    rows = [
        (
            a["image_id"],
            *np.abs(np.array(a["bbox"]) + rng.normal(0, 4, 4).round(1)),
            rng.random(),
            a["category_id"],
        )
        for a in annotations
        for _ in range(int(rng.integers(0, 4)))
    ]
    categories = [c["id"] for c in content["categories"]]
    rows += [
        (
            images[int(rng.integers(len(images)))]["id"],
            *rng.integers(1, 200, 4),
            rng.random(),
            rng.choice(categories),
        )
        for _ in range(noise)
    ]
    results = np.array(rows, dtype=np.float64)
    results[:, 5] = results[:, 5].round(decimals)
    return results


def in_positions(dataset: DetectionDataset, rows: FloatArray) -> FloatArray:
    """Replace the ids in rows of COCO results by positions of images and labels."""
    image_of = {dataset.image_id(i): i for i in range(len(dataset))}
    label_of = {category_id: label for label, category_id in enumerate(dataset.category_ids)}
    placed = rows.copy()
    placed[:, 0] = [image_of[int(each)] for each in rows[:, 0]]
    placed[:, 6] = [label_of[int(each)] for each in rows[:, 6]]
    return placed


def random_set(
    folder: Path, seed: int, *, images: int = 20, classes: int, decimals: int, noise: int
) -> tuple[DetectionDataset, FloatArray]:
    """Write random ground truth; return it with detections of it, in positions."""
    rng = np.random.default_rng(seed)
    content = write_random_annotations(folder / "truth.json", rng, images=images, classes=classes)
    dataset = load_coco(folder / "truth.json", folder, name="t")
    results = random_results(rng, content, decimals=decimals, noise=noise)
    return dataset, in_positions(dataset, results)


def write_noise_data(folder: Path) -> None:
    """Eleven small images of noise with one box each, of three classes."""
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 12):
        height, width = NOISE_SIZES[i % len(NOISE_SIZES)]
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            folder / "images" / f"{i}.png"
        )
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
        box = [5, 5, 25, 20]
        annotations.append(
            {"id": i, "image_id": i, "category_id": i % 3, "bbox": box, "area": 500, "iscrowd": 0}
        )
    categories = [{"id": i, "name": f"class {i}"} for i in range(3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))


class PageParser(HTMLParser):
    """Collects the addresses and anchors of a page, and whether its tags are closed."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.collect(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.collect(attrs)

    def collect(self, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src")]
        self.anchors += [value or "" for key, value in attrs if key == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked_page(path: Path) -> str:
    """Return a page's text; assert valid tags and anchors, no script and no network."""
    text = path.read_text(encoding="utf-8")
    page = PageParser()
    page.feed(text)
    assert not page.open and "<script" not in text
    assert not [each for each in page.addresses if re.match(r"(https?:)?//", each)]
    named = {each[1:] for each in page.addresses if each.startswith("#") and each != "#!"}
    assert named <= set(page.anchors)
    return text


def random_evaluation(folder: Path) -> tuple[DetectionDataset, FloatArray]:
    """Return random ground truth with a class `<i>&`, and detections in image order."""
    rng = np.random.default_rng(8)
    content = write_random_annotations(folder / "truth.json", rng, images=20, classes=5)
    content["categories"][0]["name"] = "<i>&"  # names are not HTML
    (folder / "truth.json").write_text(json.dumps(content))
    results = random_results(rng, content, decimals=3, noise=400)
    results = results[np.argsort(results[:, 0], kind="stable")]
    dataset = load_coco(folder / "truth.json", folder, name="random")
    return dataset, in_positions(dataset, results)


def random_analysis(folder: Path) -> tuple[DetectionDataset, FloatArray, dict[str, Any]]:
    """Return random ground truth, its detections, and the analysis of both stages."""
    dataset, results = random_evaluation(folder)
    stages = stage_records(dataset, results)
    return dataset, results, analyze(dataset, results, coco_metrics(dataset, results), stages)


def noise_detector(folder: Path, *options: str) -> Detector:
    """Write noise images of three classes, and return an untrained detector of all of them."""
    write_noise_data(folder)
    torch.manual_seed(0)
    classes = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.CENTERNET.NUM_CLASSES", "3"]
    thresholds = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0"]
    keys = [*SMALL_INPUT, *classes, *thresholds, *options]
    return centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", keys))


def stage_records(dataset: DetectionDataset, results: FloatArray) -> list[dict[str, Any]]:
    """Make the records of two stages that each give the square root of the score."""
    records = []
    for image in range(len(dataset)):
        scores = results[results[:, 0] == image][:, 5] ** 0.5
        recall = {str(count): [0.4, 0.8] for count in (50, 100, 256, 1000)}
        bins = [column.tolist() for column in bin_scores(scores, scores > 0.5)]
        columns = {"object_scores": scores.tolist(), "class_scores": scores.tolist()}
        records.append({**columns, "recall": recall, "proposals": bins, "num_proposals": 1000})
    return records
