"""Requests of every form, and the ones that are refused."""

import asyncio
import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from centernet2.serve.limits import Limits
from centernet2.serve.service import ServiceOptions
from tests.helpers.serving import StandIn, as_base64, client_of, encode, encode_noise, make_service

PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
BEST = {"box": [8.0, 6.0, 40.0, 36.0], "score": 0.9, "label": 1, "class": "dog"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(make_service(unexplained="no torch")) as client:
        yield client


def bodies() -> dict[str, dict]:
    content = encode()
    text = as_base64(content)
    return {
        "raw": {"content": content, "headers": PNG},
        "octets": {"content": content, "headers": {"Content-Type": "application/octet-stream"}},
        "form": {"files": {"image": content}},
        "base64": {"json": {"image": text}},
        "bare text": {"json": text},
        "data URI": {"json": {"image": f"data:image/png;base64,{text}"}},
        "url of data": {"json": {"url": f"data:image/png;base64,{text}"}},
    }


@pytest.mark.parametrize("form", bodies())
def test_every_form_of_one_image_gives_the_same_answer(client: TestClient, form: str) -> None:
    answer = client.post("/detect", **bodies()[form])
    assert answer.status_code == 200
    found = answer.json()
    assert (found["model"], found["width"], found["height"]) == ("pets", 80, 60)
    assert found["detections"][0] == BEST
    assert [each["score"] for each in found["detections"]] == [0.9, 0.5]  # above the default


@pytest.mark.parametrize("body", [
    {"json": [as_base64(encode()), as_base64(encode(size=(30, 20)))]},
    {"json": {"images": [as_base64(encode()), as_base64(encode(size=(30, 20)))]}},
    {"files": [("image", encode()), ("image", encode(size=(30, 20)))]},
])  # fmt: skip
def test_several_images_give_a_list(client: TestClient, body: dict) -> None:
    found = client.post("/detect", **body).json()
    assert [(each["width"], each["height"]) for each in found] == [(80, 60), (20, 30)]


def test_base64_of_addresses_and_without_padding_is_read(client: TestClient) -> None:
    content = encode_noise((5, 6))
    text = base64.urlsafe_b64encode(content).decode()
    assert set("-_") & set(text) and text.endswith("=")
    for each in (text, text.rstrip("="), as_base64(content).rstrip("=")):
        assert client.post("/detect", json={"image": each}).status_code == 200


def test_list_of_one_image_gives_a_list(client: TestClient) -> None:
    assert len(client.post("/detect", json=[as_base64(encode())]).json()) == 1


@pytest.mark.parametrize(("options", "scores"), [
    ({"score_threshold": "0.1"}, [0.9, 0.5, 0.2]),
    ({"score_threshold": "0.1", "max_detections": "2"}, [0.9, 0.5]),
    ({"score_threshold": "0", "classes": "cat"}, [0.5]),
    ({"score_threshold": "0", "classes": "cat, dog"}, [0.9, 0.5, 0.2]),
    ({"score_threshold": "cat=0.6,dog=0.1"}, [0.9, 0.2]),
    ({"model": "pets"}, [0.9, 0.5]),
])  # fmt: skip
def test_options_stand_in_the_address_the_form_or_json(
    client: TestClient, options: dict[str, str], scores: list[float]
) -> None:
    content = encode()
    answers = [
        client.post("/detect", params=options, content=content, headers=PNG),
        client.post("/detect", data=options, files={"image": content}),
        client.post("/detect", json={"image": as_base64(content), **options}),
    ]
    for answer in answers:
        assert [each["score"] for each in answer.json()["detections"]] == scores


def test_thresholds_in_json_are_numbers_too(client: TestClient) -> None:
    for threshold in (0.6, {"cat": 0.6, "dog": 0.3}):
        body = {"image": as_base64(encode()), "score_threshold": threshold}
        assert len(client.post("/detect", json=body).json()["detections"]) == 1


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_picture_is_asked_for_by_header_or_option(client: TestClient, kind: str) -> None:
    headers = PNG | {"Accept": f"image/{kind}"}
    by_header = client.post("/detect", content=encode(), headers=headers)
    by_option = client.post(f"/detect?format={kind}", content=encode(), headers=PNG)
    for answer in (by_header, by_option):
        assert answer.headers["content-type"] == f"image/{kind}"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.format == kind.upper()
            assert len(picture.getcolors(1 << 24)) > 1  # boxes are drawn on the plain image


def test_picture_that_a_format_does_not_hold_is_refused(client: TestClient) -> None:
    content = encode(size=(20, 17_000))
    answer = client.post("/detect?format=webp", content=content, headers=PNG)
    assert (answer.status_code, "17000 x 20 pixels cannot be WEBP" in answer.text) == (422, True)


def test_empty_content_encoding_is_none(client: TestClient) -> None:
    answer = client.post("/detect", content=encode(), headers=PNG | {"Content-Encoding": ""})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_state_is_asked_for_without_content(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


REFUSED = {
    "no type": ({"content": encode()}, 415, "there is no content type"),
    "other type": ({"content": encode(), "headers": {"Content-Type": "text/plain"}}, 415,
                   "'text/plain'"),
    "no image": ({"content": b"hello", "headers": PNG}, 415, "no image of a known format"),
    "program": ({"content": EPS, "headers": PNG}, 415, "no image of a known format"),
    "compressed": ({"content": gzip.compress(encode()),
                    "headers": PNG | {"Content-Encoding": "gzip"}}, 415, "without compression"),
    "empty": ({"content": b"", "headers": PNG}, 422, "an image is empty"),
    "damaged": ({"content": encode(size=(300, 300))[:200], "headers": PNG}, 422, "not a readable"),
    "no JSON": ({"content": b"{", "headers": JSON}, 422, "the body is no JSON"),
    "deep JSON": ({"content": b"[" * 100_000, "headers": JSON}, 422, "the body is no JSON"),
    "no base64": ({"json": {"image": "%%%"}}, 422, "this is not"),
    "number": ({"json": {"image": 3}}, 422, "not a int"),
    "two": ({"json": {"image": "", "images": []}}, 422, "has one of"),
    "other address": ({"json": {"image": "s3://bucket/a.png"}}, 422, "at an address of s3://"),
    "half a character": ({"content": b'{"image": "", "\\ud800": 1}', "headers": JSON}, 422,
                         "half of a character"),
    "half in a class": ({"content": b'{"image": "", "classes": ["\\uDBFF"]}', "headers": JSON}, 422,
                        "half of a character"),
    "no list": ({"json": {"images": "abc"}}, 422, "is a list of base64 texts"),
    "empty list": ({"json": []}, 422, "the list of images is empty"),
    "address": ({"json": {"url": "http://example.com/a.png"}}, 403, "fetches no addresses"),
    "no address": ({"json": {"url": "file:///etc/passwd"}}, 422, "begins with one of http://"),
    "form without file": ({"files": {"a": (None, "b")}}, 422, "the form has no file"),
    "bad form": ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400,
                 "oundary"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_has_a_status_and_a_sentence(client: TestClient, case: str) -> None:
    body, status, sentence = REFUSED[case]
    answer = client.post("/detect", **body)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert sentence in answer.json()["detail"]


def test_character_of_two_surrogates_is_one(client: TestClient) -> None:
    content = b'{"image": "%s", "classes": ["\\ud83d\\ude00"]}' % base64.b64encode(encode())
    answer = client.post("/detect", content=content, headers=JSON)
    assert (answer.status_code, "has no class '\U0001f600'" in answer.text) == (422, True)


@pytest.mark.parametrize(("query", "sentence"), [
    ("score_threshold=2", "score_threshold is 2; scores are in 0..1"),
    ("score_threshold=x", "score_threshold is 'x'; it takes a number"),
    ("score_threshold=bird=0.5", "names the class 'bird'"),
    ("max_detections=0", "max_detections is '0': Input should be greater than or equal to 1"),
    ("classes=cats", "has no class 'cats'; did you mean 'cat'?"),
    ("model=pet", "there is no model 'pet'; did you mean 'pets'?"),
    ("treshold=0.5", "there is no option 'treshold'"),
    ("format=bmp", "format is 'bmp'"),
])  # fmt: skip
def test_wrong_option_is_one_sentence(client: TestClient, query: str, sentence: str) -> None:
    answer = client.post(f"/detect?{query}", content=encode(), headers=PNG)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


def test_option_given_twice_is_refused(client: TestClient) -> None:
    body = {"image": as_base64(encode()), "max_detections": 1}
    answer = client.post("/detect?max_detections=2", json=body)
    assert answer.status_code == 422
    assert "max_detections is given in the address and in the body" in answer.json()["detail"]


def test_picture_of_several_images_is_refused(client: TestClient) -> None:
    images = [as_base64(encode())] * 2
    answer = client.post("/detect?format=png", json=images)
    assert (answer.status_code, "holds one image" in answer.text) == (422, True)


def test_unknown_answer_type_is_refused(client: TestClient) -> None:
    answer = client.post("/detect", content=encode(), headers=PNG | {"Accept": "text/html"})
    assert answer.status_code == 406


@pytest.mark.parametrize(("limits", "content", "sentence"), [
    (Limits(max_megabytes=0.0001), encode(size=(300, 300), kind="BMP"), "larger than 0.0001"),
    (Limits(max_megapixels=0.001), encode(), "more than 0.001 megapixels"),
])  # fmt: skip
def test_too_large_is_413(limits: Limits, content: bytes, sentence: str) -> None:
    with client_of(make_service(options=ServiceOptions(limits))) as client:
        answer = client.post("/detect", content=content, headers=PNG)
        assert (answer.status_code, sentence in answer.json()["detail"]) == (413, True)


def test_body_without_stated_length_is_counted() -> None:
    limits = Limits(max_megabytes=0.01)
    with client_of(make_service(options=ServiceOptions(limits))) as client:
        answer = client.post("/detect", content=iter([b"x" * 1000] * 20), headers=PNG)
        assert answer.status_code == 413


def test_frames_of_an_animation_count_as_pixels() -> None:
    frames = [Image.new("RGB", (100, 100), (4 * value, 0, 0)) for value in range(60)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    with client_of(make_service(options=ServiceOptions(Limits(max_megapixels=0.5)))) as client:
        headers = {"Content-Type": "image/gif"}
        answer = client.post("/detect", content=stream.getvalue(), headers=headers)
        assert answer.status_code == 413


def test_small_file_of_a_huge_image_is_not_decoded() -> None:
    with client_of(make_service()) as client:
        content = png_of(60_000, 60_000)
        answer = client.post("/detect", content=content, headers=PNG)
        assert (answer.status_code, len(content) < 1000) == (413, True)
        assert "more than 50 megapixels" in answer.json()["detail"]


def png_of(width: int, height: int) -> bytes:
    """Return a PNG file whose header states a size, and which has one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(1 + 3 * width), 9)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_more_images_than_the_queue_holds_are_413() -> None:
    limits = Limits(max_queue=2)
    with client_of(make_service(options=ServiceOptions(limits))) as client:
        answer = client.post("/detect", json=[as_base64(encode())] * 3)
        assert answer.status_code == 413
        assert client.post("/detect", json=[as_base64(encode())] * 2).status_code == 200


def test_more_pixels_than_fit_into_memory_are_413() -> None:
    limits = Limits(max_megapixels=0.01, waiting_megapixels=0.01)
    with client_of(make_service(options=ServiceOptions(limits))) as client:
        answer = client.post("/detect", json=[as_base64(encode())] * 3)
        assert answer.status_code == 413
        assert "together, of at most 0.01; send fewer at once" in answer.json()["detail"]
        assert client.post("/detect", json=[as_base64(encode())] * 2).status_code == 200


def test_addresses_are_counted_first_and_fetched_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    service, fetched = make_service(options=ServiceOptions(Limits(max_queue=2, timeout=0.3))), []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        await asyncio.sleep(5)
        return encode()

    monkeypatch.setattr(service, "fetch", fetch)
    with client_of(service) as client:
        assert client.post("/detect", json=[{"url": "http://host/a.png"}] * 3).status_code == 413
        assert not fetched
        answer = client.post("/detect", json={"url": "http://host/a.png"})
        assert (answer.status_code, len(fetched)) == (503, 1)


def test_explanation_that_cannot_be_given_is_a_sentence(client: TestClient) -> None:
    answer = client.post("/explain?x=1&y=2", content=encode(), headers=PNG)
    sentence = "the model pets is explained by PyTorch, which the service does not have"
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_explanation_is_in_the_language_of_the_request() -> None:
    with client_of(make_service()) as client:
        for language, summary in (("en", "a dog is at 1, 2"), ("zh", "1, 2 有一只狗")):
            path = f"/explain?x=1&y=2&language={language}"
            answer = client.post(path, content=encode(), headers=PNG)
            assert answer.json()["summary"] == summary
        path = "/explain?x=1&y=2&language=fr"
        assert client.post(path, content=encode(), headers=PNG).status_code == 422


def test_point_outside_of_the_image_is_refused() -> None:
    with client_of(make_service()) as client:
        answer = client.post("/explain?x=100&y=2", content=encode(), headers=PNG)
        assert (answer.status_code, "outside of the image" in answer.text) == (422, True)


@pytest.mark.parametrize("option", ["format=png", "classes=cat", "max_detections=1"])
def test_explanation_refuses_options_that_it_does_not_obey(client: TestClient, option: str) -> None:
    answer = client.post(f"/explain?x=1&y=2&{option}", content=encode(), headers=PNG)
    sentence = f"there is no option '{option.partition('=')[0]}'; /docs lists them"
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_models_are_listed(client: TestClient) -> None:
    (model,) = client.get("/models").json()
    colors = model.pop("colors")
    assert model == {
        "name": "pets", "classes": ["cat", "dog"], "score_threshold": 0.3, "explains": False,
    }  # fmt: skip
    assert [set(each) for each in colors] == [{"fill", "text"}] * 2


@pytest.mark.parametrize("names", [("cat", "dog"), ()])
def test_colors_of_classes_are_those_of_drawn_pictures(names: tuple[str, ...]) -> None:
    with client_of(make_service(StandIn(names=names))) as client:
        (model,) = client.get("/models").json()
        answer = client.post("/detect?format=png", content=encode(), headers=PNG)
    drawn = Image.open(io.BytesIO(answer.content)).convert("RGB").getcolors(1 << 24)
    drawn_colors = {f"#{bytes(color).hex()}" for _, color in drawn}
    assert {each["fill"] for each in model["colors"]} <= drawn_colors
    assert {each["text"] for each in model["colors"]} <= {"#000000", "#ffffff"}


def test_detector_without_class_names_is_asked_by_numbers() -> None:
    with client_of(make_service(StandIn(names=()))) as client:
        (model,) = client.get("/models").json()
        found = client.post("/detect?classes=1", content=encode(), headers=PNG).json()
    assert model["classes"] == ["0", "1"]
    assert [each["class"] for each in found["detections"]] == ["1"]


def test_interface_has_examples(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operation = paths["/detect"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert {"one image", "several images"} == set(examples)
    names = {each["name"] for each in operation["parameters"]}
    assert names == {"score_threshold", "classes", "max_detections", "model", "format"}
    assert {"200", "413", "415", "422", "429", "503"} <= set(operation["responses"])
    answer = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert json.dumps(answer).count("cat") == 1


def test_interface_describes_each_parameter(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operations = [each for path in paths.values() for each in path.values()]
    parameters = [each for operation in operations for each in operation.get("parameters", ())]
    assert {"x", "y"} <= {each["name"] for each in parameters}
    assert [each["name"] for each in parameters if not each.get("description")] == []


def test_metrics_count_requests_and_stages() -> None:
    with client_of(make_service()) as client:
        client.post("/detect", content=encode(), headers=PNG)
        client.post("/detect", content=b"x", headers=PNG)
        lines = client.get("/metrics").text.splitlines()
    assert "centernet2_answered_total 1.0" in lines
    assert 'centernet2_refused_total{status="415"} 1.0' in lines
    assert "centernet2_queue_length 0.0" in lines
    assert "centernet2_batch_size_count 2.0" in lines  # the first image of the service, and this
    for stage in ("read", "decode", "wait", "forward", "encode"):
        assert any(f'stage_seconds_count{{stage="{stage}"}}' in line for line in lines)
