"""Recorded requests of labelling tools are answered in their protocols."""

import json
from pathlib import Path
from typing import Any

import pytest

from centernet2.serve.service import LabelStudio, ServiceOptions
from tests.helpers.serving import as_base64, client_of, encode, make_service
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
    request["label_config"] = request["label_config"].replace("cat,hamster", "hamster")
    with client_of(make_service()) as client:
        (result,) = client.post("/predict", json=request).json()["results"]
    assert [each["value"]["rectanglelabels"] for each in result["result"]] == [["Dog"]]


def test_images_are_read_from_the_label_studio_of_the_operator_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encode())
    with serve_files(tmp_path) as address:
        origin = address.rstrip("/")
        own = ServiceOptions(label_studio=LabelStudio(origin))
        with client_of(make_service(options=own)) as client:
            for image in ("/photo.png", f"{origin}/photo.png"):
                request = recorded("label_studio_predict.json", image)
                assert client.post("/predict", json=request).status_code == 200
            other = recorded("label_studio_predict.json", "http://127.0.0.1:1/photo.png")
            assert client.post("/predict", json=other).status_code == 403
        with client_of(make_service()) as client:
            request = recorded("label_studio_predict.json", "/photo.png")
            answer = client.post("/predict", json=request)
            assert (answer.status_code, "--label-studio" in answer.text) == (422, True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tasks": []}, "is a list of tasks"),
        ({"tasks": [{"data": {}}]}, "has no text 'image'"),
        ({"tasks": [3]}, "has no text 'image'"),
        ({"label_config": "<View/>"}, "has no RectangleLabels"),
        ({"label_config": "<View>"}, "is no XML"),
        ({"label_config": None}, "is no labelling config"),
        ({"label_config": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}, "is no labelling config"),
    ],
)
def test_other_requests_of_label_studio_are_refused(change: dict, sentence: str) -> None:
    with client_of(make_service()) as client:
        request = recorded("label_studio_predict.json", data_uri()) | change
        answer = client.post("/predict", json=request)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (422, True)


def test_cvat_finds_and_calls_the_function() -> None:
    request = recorded("cvat_invocation.json", as_base64(encode()))
    with client_of(make_service()) as client:
        found = client.get("/api/functions", headers=NUCLIO).json()
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
    wanted = {
        "confidence": "0.9", "label": "dog", "points": [8.0, 6.0, 40.0, 36.0], "type": "rectangle",
    }  # fmt: skip
    assert by_dashboard.json() == direct.json() == [wanted]  # 0.5 is below the threshold of 0.6


@pytest.mark.parametrize(
    "body",
    [
        {"threshold": 0.5},
        {"image": "%"},
        [],
        {"image": "", "threshold": 7},
        {"image": "", "threshold": [[]]},
    ],
)
def test_other_calls_of_cvat_are_refused(body: Any) -> None:
    with client_of(make_service()) as client:
        for path in ("/api/function_invocations", "/"):
            assert client.post(path, json=body).status_code == 422
