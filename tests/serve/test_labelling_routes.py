"""Requests of labelling tools are answered in their protocols.

Those in recorded/ have the fields that the tools send, by recordings in the tests of Label Studio's
ML backends and by the source of CVAT, with other values.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import mask as rle

from centernet2.predict.brush import pack_mask
from centernet2.serve.service import LabelStudio, ServiceOptions
from tests.helpers.serving import StandIn, as_base64, client_of, encode, make_service
from tests.helpers.stream_server import serve_files

RECORDED = Path(__file__).parent / "recorded"
NUCLIO = {"x-nuclio-function-namespace": "nuclio"}


def recorded(name: str, image: str) -> Any:
    return json.loads((RECORDED / name).read_text("utf-8").replace("IMAGE", image))


def data_uri() -> str:
    return f"data:image/png;base64,{as_base64(encode())}"


def test_label_studio_connects_and_predicts() -> None:
    with client_of(make_service()) as client:
        assert client.get("/health").json() == {"status": "UP", "model_class": "pets"}
        setup = client.post("/setup", json=recorded("label_studio_setup.json", ""))
        assert setup.json() == {"model_version": "pets"}
        notice = client.post("/webhook", json=recorded("label_studio_webhook.json", ""))
        assert notice.json() == {"status": "ignored"}
        answer = client.post("/predict", json=recorded("label_studio_predict.json", data_uri()))
    (result,) = answer.json()["results"]
    assert (result["model_version"], round(result["score"], 3)) == ("pets", 0.7)
    dog, cat = result["result"]
    assert {key: dog[key] for key in ("from_name", "to_name", "type")} == {
        "from_name": "label", "to_name": "image", "type": "rectanglelabels",
    }  # fmt: skip
    assert (dog["original_width"], dog["original_height"]) == (80, 60)
    assert dog["value"]["rectanglelabels"] == ["Dog"]
    assert cat["value"]["rectanglelabels"] == ["Small animal"]  # by predicted_values
    assert [round(dog["value"][key], 3) for key in ("x", "y", "width", "height")] == [
        10, 10, 40, 50,
    ]  # fmt: skip


def test_classes_without_a_label_are_left_out() -> None:
    request = recorded("label_studio_predict.json", data_uri())
    request["label_config"] = request["label_config"].replace("cat, hamster", "hamster")
    with client_of(make_service()) as client:
        (result,) = client.post("/predict", json=request).json()["results"]
    assert [each["value"]["rectanglelabels"] for each in result["result"]] == [["Dog"]]


def test_smart_tool_gets_the_regions_of_the_image() -> None:
    """Label Studio sends what a person draws with a smart tool; the detector does not need it."""
    request = recorded("label_studio_smart_tool.json", data_uri())
    with client_of(make_service()) as client:
        (result,) = client.post("/predict", json=request).json()["results"]
    dog, cat = result["result"]
    assert dog["from_name"] == cat["from_name"] == "label"
    assert dog["value"]["rectanglelabels"] + cat["value"]["rectanglelabels"] == ["Dog", "Cat"]


def test_tags_of_one_image_are_used() -> None:
    """Brush of the first image needs masks, and rectangles of the second one are no replacement."""
    request = recorded("label_studio_predict.json", data_uri())
    request["label_config"] = (
        '<View><Image name="a" value="$image"/><BrushLabels name="brush" toName="a"/>'
        '<Image name="b" value="$other"/><RectangleLabels name="label" toName="b"/></View>'
    )
    with client_of(make_service()) as client:
        answer = client.post("/predict", json=request)
    assert (answer.status_code, "has no masks for BrushLabels" in answer.text) == (422, True)


def test_images_are_read_from_the_label_studio_of_the_operator_alone(tmp_path: Path) -> None:
    for name in ("photo.png", "my%20photo%201.png", "%E7%85%A7%E7%89%87.png"):
        (tmp_path / name).write_bytes(encode())
    with serve_files(tmp_path) as address:
        origin = address.rstrip("/")
        own = ServiceOptions(label_studio=LabelStudio(origin))
        with client_of(make_service(options=own)) as client:
            for image in (
                "/photo.png", f"{origin}/photo.png", "/my photo 1.png", "/my%20photo%201.png",
                f"{origin}/照片.png",
            ):  # fmt: skip
                request = recorded("label_studio_predict.json", image)
                assert client.post("/predict", json=request).status_code == 200
            other = recorded("label_studio_predict.json", "http://127.0.0.1:1/photo.png")
            assert client.post("/predict", json=other).status_code == 403
        with client_of(make_service()) as client:
            request = recorded("label_studio_predict.json", "/photo.png")
            answer = client.post("/predict", json=request)
            assert (answer.status_code, "--label-studio" in answer.text) == (422, True)


def masks_of(client: Any) -> list[np.ndarray]:
    """Return the masks that the service detects, of the classes dog and cat."""
    found = client.post("/detect", content=encode(), headers={"Content-Type": "image/png"}).json()
    return [rle.decode(each["segmentation"]).astype(bool) for each in found["detections"]]


def unpack(packed: list[int]) -> np.ndarray:
    """Return the words of rle-pack, as its documentation describes them."""
    bits, at = "".join(f"{each:08b}" for each in packed), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    number, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    words: list[int] = []
    while len(words) < number:
        is_run = read(1)
        length = read(sizes[read(2)]) + 1
        words += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    assert len(words) == number and len(bits) - at < 8
    return np.array(words)


def test_brush_of_label_studio_has_the_masks() -> None:
    request = recorded("label_studio_predict.json", data_uri())
    request["label_config"] = request["label_config"].replace("RectangleLabels", "BrushLabels")
    with client_of(make_service(StandIn(has_masks=True))) as client:
        (result,) = client.post("/predict", json=request).json()["results"]
        masks = masks_of(client)
    assert len(result["result"]) == len(masks) == 2
    for region, mask in zip(result["result"], masks, strict=True):
        value = region["value"]
        assert (region["type"], value["format"]) == ("brushlabels", "rle")
        pixels = unpack(value["rle"]).reshape(60, 80, 4)
        assert np.array_equal(pixels, 255 * np.repeat(mask[..., None], 4, axis=2))
    assert result["result"][0]["value"]["brushlabels"] == ["Dog"]


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_masks_of_any_size_are_packed(share: float) -> None:
    """Runs longer than the longest length, and runs of one pixel."""
    mask = np.random.default_rng(0).random((150, 301)) < share
    assert np.array_equal(unpack(pack_mask(mask)), 255 * np.repeat(mask.ravel(), 4))


def test_polygons_of_label_studio_are_outlines() -> None:
    request = recorded("label_studio_predict.json", data_uri())
    request["label_config"] = request["label_config"].replace("RectangleLabels", "PolygonLabels")
    with client_of(make_service(StandIn(has_masks=True))) as client:
        (result,) = client.post("/predict", json=request).json()["results"]
    dog = result["result"][0]
    assert (dog["type"], dog["value"]["polygonlabels"]) == ("polygonlabels", ["Dog"])
    assert dog["value"]["closed"] is True
    corners = np.array(dog["value"]["points"]) * [0.8, 0.6]  # of 80 x 60 pixels
    wanted = {(26, 6), (40, 6), (40, 36), (8, 36), (8, 20), (26, 20)}
    assert {tuple(each) for each in corners.round(6).tolist()} == wanted


def test_first_tag_that_the_detector_has_regions_for_is_used() -> None:
    request = recorded("label_studio_predict.json", data_uri())
    rectangles = request["label_config"]
    brush = '<BrushLabels name="brush" toName="image"><Label value="Dog"/></BrushLabels>'
    request["label_config"] = rectangles.replace("<RectangleLabels", f"{brush}<RectangleLabels")
    kinds = []
    for has_masks in (True, False):
        with client_of(make_service(StandIn(has_masks=has_masks))) as client:
            (result,) = client.post("/predict", json=request).json()["results"]
        kinds.append(result["result"][0]["from_name"])
    assert kinds == ["brush", "label"]
    request["label_config"] = rectangles.replace("RectangleLabels", "BrushLabels")
    with client_of(make_service()) as client:
        answer = client.post("/predict", json=request)
    assert (answer.status_code, "has no masks for BrushLabels" in answer.text) == (422, True)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"tasks": []}, "is a list of tasks"),
    ({"tasks": [{"data": {}}]}, "has no text 'image'"),
    ({"tasks": [3]}, "has no text 'image'"),
    ({"label_config": "<View/>"}, "has no RectangleLabels, PolygonLabels or BrushLabels"),
    ({"label_config": "<View>"}, "is no XML"),
    ({"label_config": None}, "is no labelling config"),
    ({"label_config": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}, "is no labelling config"),
])  # fmt: skip
def test_other_requests_of_label_studio_are_refused(change: dict, sentence: str) -> None:
    with client_of(make_service()) as client:
        request = recorded("label_studio_predict.json", data_uri()) | change
        answer = client.post("/predict", json=request)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (422, True)


def test_cvat_finds_and_calls_the_function() -> None:
    request = recorded("cvat_invocation.json", as_base64(encode()))
    with client_of(make_service()) as client:
        found = client.get("/api/functions", headers=NUCLIO).json()
        other = client.get("http://pets:9090/api/functions/pets", headers=NUCLIO).json()
        assert client.get("/api/functions/pets", headers=NUCLIO).json() == found["pets"]
        by_dashboard = client.post(
            "/api/function_invocations", json=request["body"], headers=request["headers"]
        )
        direct = client.post("/", json=request["body"])
        assert client.get("/api/functions/cars", headers=NUCLIO).status_code == 404
    annotations = found["pets"]["metadata"]["annotations"]
    assert [each["name"] for each in json.loads(annotations["spec"])] == ["cat", "dog"]
    assert (annotations["type"], found["pets"]["status"]["state"]) == ("detector", "ready")
    assert found["pets"]["spec"]["description"]
    assert (found["pets"]["status"]["httpPort"], other["status"]["httpPort"]) == (80, 9090)
    wanted = {
        "confidence": "0.9", "label": "dog", "points": [8.0, 6.0, 40.0, 36.0], "type": "rectangle",
    }  # fmt: skip
    assert by_dashboard.json() == direct.json() == [wanted]  # 0.5 is below the threshold of 0.6


def test_cvat_finds_a_detector_without_class_names_by_numbers() -> None:
    request = recorded("cvat_invocation.json", as_base64(encode()))
    with client_of(make_service(StandIn(names=()))) as client:
        function = client.get("/api/functions/pets", headers=NUCLIO).json()
        (dog,) = client.post("/", json=request["body"]).json()
    labels = [each["name"] for each in json.loads(function["metadata"]["annotations"]["spec"])]
    assert labels == ["0", "1"] and dog["label"] == "1"


def test_cvat_gets_masks_of_a_detector_that_has_them() -> None:
    request = recorded("cvat_invocation.json", as_base64(encode()))
    with client_of(make_service(StandIn(has_masks=True))) as client:
        function = client.get("/api/functions/pets", headers=NUCLIO).json()
        (dog,) = client.post("/", json=request["body"]).json()
        mask = masks_of(client)[0]
    labels = json.loads(function["metadata"]["annotations"]["spec"])
    assert {each["type"] for each in labels} == {"mask"}
    assert (dog["type"], dog["label"], dog["confidence"]) == ("mask", "dog", "0.9")
    *pixels, left, top, right, bottom = dog["mask"]
    filled = np.zeros_like(mask)
    filled[top : bottom + 1, left : right + 1] = np.reshape(
        pixels, (bottom - top + 1, right - left + 1)
    )
    assert np.array_equal(filled, mask)
    corners = np.reshape(dog["points"], (-1, 2))
    assert corners.min(0).tolist() == [left, top]
    assert corners.max(0).tolist() == [right + 1, bottom + 1]


@pytest.mark.parametrize("body", [
    {"threshold": 0.5},
    {"image": "%"},
    [],
    {"image": "", "threshold": 7},
    {"image": "", "threshold": [[]]},
])  # fmt: skip
def test_other_calls_of_cvat_are_refused(body: Any) -> None:
    with client_of(make_service()) as client:
        for path in ("/api/function_invocations", "/"):
            assert client.post(path, json=body).status_code == 422
