"""Exported files through the service: its answers are the detections of the file."""

from pathlib import Path

import pytest
from PIL import Image

from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.builders.service.serving import load_served
from centernet2.export.certificate import drawn_images
from centernet2.predict.conversions import records
from centernet2.serve.service import Service
from tests.helpers.serving import client_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["exported", "converted"])  # ONNX, OpenVINO
def test_answer_has_the_detections_of_the_file(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(name)
    pixels = drawn_images()[0].permute(1, 2, 0).contiguous().numpy()
    image = tmp_path / "image.png"
    Image.fromarray(pixels).save(image)
    wanted = records(load_predictor(path)(pixels, score_threshold=0.0))
    service = Service(load_served([path], batch_size=4))
    with client_of(service) as client:
        answer = client.post(
            "/detect?score_threshold=0",
            content=image.read_bytes(),
            headers={"Content-Type": "image/png"},
        )
    assert wanted and answer.json()["detections"] == wanted
    assert service.has_masks(service.model(None)) and "segmentation" in wanted[0]
