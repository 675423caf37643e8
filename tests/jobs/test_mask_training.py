"""Instance masks from data to pictures: a small detector learns them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import centernet2
from centernet2.cli import app

SIDE = 96
OPTIONS = [
    "MODEL.MASK_ON", "True", "INPUT.MIN_SIZE_TRAIN", f"({SIDE},)", "INPUT.MIN_SIZE_TEST", f"{SIDE}",
    "DATALOADER.NUM_WORKERS", "0", "SOLVER.IMS_PER_BATCH", "8", "SOLVER.CHECKPOINT_PERIOD", "1000",
    "SOLVER.LOG_PERIOD", "1", "SOLVER.WARMUP_ITERS", "5",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright triangles and diamonds with polygons; every tenth image is empty."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(1, 31):
        picture = Image.fromarray(rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8))
        for _ in range(0 if i % 10 == 0 else int(rng.integers(1, 3))):
            kind = int(rng.integers(1, 3))
            x, y = rng.uniform(2, SIDE - 50, 2).round(1).tolist()
            w, h = rng.uniform(28, 48, 2).round(1).tolist()
            triangle, diamond = (
                [x, y + h, x + w / 2, y, x + w, y + h],
                [x, y + h / 2, x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h],
            )
            polygon = triangle if kind == 1 else diamond
            ImageDraw.Draw(picture).polygon(
                polygon, fill=(230, 200, 40) if kind == 1 else (40, 200, 230)
            )
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i, "category_id": kind,
                 "bbox": [x, y, w, h], "area": w * h / 2, "iscrowd": 0, "segmentation": [polygon]},
            )  # fmt: skip
        picture.save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": 1, "name": "triangle"}, {"id": 2, "name": "diamond"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def train(data: Path, output: Path, iterations: int) -> dict[str, float]:
    config = centernet2.load_config(
        "CenterNet2_R18_small", [*OPTIONS, "SOLVER.MAX_ITER", str(iterations)]
    )
    metrics = centernet2.train(config, data=data, output_dir=output, seed=1, device="cpu")
    assert isinstance(metrics, dict)
    return metrics


def mask_losses(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss_mask"] for line in lines if "loss_mask" in line]


@pytest.mark.slow
def test_masks_are_learned(data: Path, tmp_path: Path) -> None:
    metrics = train(data, tmp_path, 60)
    losses = mask_losses(tmp_path)
    assert np.mean(losses[:3]) > 0.6 and np.mean(losses[-10:]) < 0.4
    assert metrics["segm/AP50"] > 40 and metrics["segm/AP/triangle"] > 0


def test_masks_from_data_to_pictures(data: Path, tmp_path: Path) -> None:
    metrics = train(data, tmp_path, 2)
    assert {"bbox/AP", "segm/AP", "segm/AP75", "segm/ARl", "segm/AP/diamond"} <= set(metrics)
    weights = tmp_path / "model_final.pth"
    detections = centernet2.load_predictor(
        weights, ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"], device="cpu"
    )(data / "images" / "1.png")
    count = len(detections.boxes)
    assert count and detections.masks.shape == (count, SIDE, SIDE)

    command = [
        "predict", str(data / "images" / "1.png"), "--weights", str(weights),
        "--score-threshold", "0",
    ]  # fmt: skip
    command += ["--output", str(tmp_path / "pictures"), "--device", "cpu"]
    app(command, result_action="return_value")
    (record,) = json.loads((tmp_path / "pictures" / "predictions.json").read_text())
    assert all(each["segmentation"]["size"] == [SIDE, SIDE] for each in record["detections"])


def test_data_without_masks_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").symlink_to(data / "images")
    content = json.loads((data / "annotations" / "instances_train.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    for split in ("train", "val"):
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"train.json: no object has a mask .* MODEL.MASK_ON"):
        train(tmp_path, tmp_path / "output", 2)
