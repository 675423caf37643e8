"""Predictor and evaluation agree on every test size and channel order."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import centernet2

SIZE = (90, 150)  # height and width
OPTIONS = {
    "default": ["INPUT.TEST_INPUT_TYPE", "default", "INPUT.MIN_SIZE_TEST", "64",
                "INPUT.MAX_SIZE_TEST", "1333"],
    "default, at its limit": ["INPUT.MIN_SIZE_TEST", "200", "INPUT.MAX_SIZE_TEST", "220"],
    "default, as it is": ["INPUT.MIN_SIZE_TEST", "0"],
    "square": ["INPUT.TEST_INPUT_TYPE", "square", "INPUT.TEST_SIZE", "224"],
}  # fmt: skip
INPUTS = {
    "default": (64, 107),
    "default, at its limit": (132, 220),
    "default, as it is": SIZE,
    "square": (134, 224),
}
FORMATS = {
    "BGR": ["INPUT.FORMAT", "BGR", "MODEL.PIXEL_MEAN", "[103.53,116.28,123.675]",
            "MODEL.PIXEL_STD", "[1.0,2.0,3.0]"],
    "RGB": ["INPUT.FORMAT", "RGB", "MODEL.PIXEL_MEAN", "[123.675,116.28,103.53]",
            "MODEL.PIXEL_STD", "[57.0,58.0,59.0]"],
}  # fmt: skip
ALL_DETECTIONS = [
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.CENTERNET.INFERENCE_TH", "0.0",
    "MODEL.CENTERNET.POST_NMS_TOPK_TEST", "20", "TEST.DETECTIONS_PER_IMAGE", "10",
    "MODEL.ROI_HEADS.NUM_CLASSES", "1", "MODEL.CENTERNET.NUM_CLASSES", "1",
    "DATALOADER.NUM_WORKERS", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [9, 9, 40, 40], "area": 1600,
             "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "thing"}],
    }  # fmt: skip
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("colors", FORMATS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_predictor_and_evaluation_agree(data: Path, tmp_path: Path, kind: str, colors: str) -> None:
    torch.manual_seed(0)
    config = centernet2.load_config(
        "CenterNet2_R18_small", [*ALL_DETECTIONS, *OPTIONS[kind], *FORMATS[colors]]
    )
    model = centernet2.build_model(config)
    seen: list[tuple[int, ...]] = []
    model.preprocess.register_forward_pre_hook(
        lambda _, images: seen.extend(tuple(x.shape[1:]) for x in images[0])
    )
    centernet2.evaluate(model, data=data, output_dir=tmp_path)
    detections = centernet2.Predictor(model)(data / "images" / "a.png").to_detections()
    assert seen == [INPUTS[kind]] * 2
    written = json.loads((tmp_path / "predictions.json").read_text())
    boxes = torch.tensor([record["bbox"] for record in written])
    boxes[:, 2:] += boxes[:, :2]
    assert len(written) == len(detections["boxes"]) > 0
    scores, order = torch.tensor([record["score"] for record in written]).sort(
        descending=True, stable=True
    )
    own, own_order = detections["scores"].sort(descending=True, stable=True)
    torch.testing.assert_close(own, scores)
    torch.testing.assert_close(detections["boxes"][own_order], boxes[order], rtol=0, atol=1e-3)


def test_channel_order_of_the_input() -> None:
    red = torch.zeros(3, 32, 32, dtype=torch.uint8)
    red[0] = 255
    for colors, position in (("RGB", 0), ("BGR", 2)):
        config = centernet2.load_config("CenterNet2_R18_small", FORMATS[colors])
        model = centernet2.build_model(config)
        values = model.preprocess([red]).tensor[0, :, 0, 0]
        mean, std = config["MODEL.PIXEL_MEAN"], config["MODEL.PIXEL_STD"]
        expected = [((255 if i == position else 0) - mean[i]) / std[i] for i in range(3)]
        assert values.tolist() == pytest.approx(expected)
