"""The page: its files, and how it behaves in headless Chromium."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from centernet2.serve.page_routes import FOLDER
from centernet2.serve.service import Service
from centernet2.visualize import label_colors
from tests.helpers.browser import Page, find_chromium, open_page
from tests.helpers.serving import (
    HOST,
    NAMES,
    as_base64,
    client_of,
    encode,
    make_model,
    make_service,
    serving,
    wait_until,
)

OUTSIDE = ("https://", "http://", "//cdn")
ROWS = "document.querySelectorAll('tbody tr').length"
UNEXPLAINED = "the model file is explained by PyTorch, which the service does not have"


def test_page_is_whole_and_names_no_address() -> None:
    with client_of(make_service()) as client:
        for path in ("/", "/docs"):
            answer = client.get(path)
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert '<meta charset="utf-8">' in answer.text and "<!--" not in answer.text
        for file in FOLDER.iterdir():
            content = file.read_text("utf-8")
            assert not any(each in content for each in OUTSIDE), file.name
            if not file.name.endswith(".html"):
                assert client.get(f"/page/{file.name}").text == content
        for name in ("index.html", "head.html", "none.js", "..%2fservice.py"):
            assert client.get(f"/page/{name}").status_code == 404


def test_both_languages_have_the_texts_that_the_page_uses() -> None:
    texts = FOLDER.joinpath("texts.js").read_text("utf-8")
    english, chinese = (
        set(re.findall(r"^    (\w+):", part, re.MULTILINE))
        for part in re.split(r"^  zh: ", texts, flags=re.MULTILINE)
    )
    page = FOLDER.joinpath("index.html").read_text("utf-8")
    code = FOLDER.joinpath("page.js").read_text("utf-8")
    used = {
        *re.findall(r'data-(?:text|label)="(\w+)"', page),
        *re.findall(r'\btext\("(\w+)"', code),
    }
    assert english == chinese == used


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """The page of two models, one of which explains nothing, with an image of 60 x 80 pixels."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed")
    service = Service([make_model("pets"), make_model("file", unexplained="no torch")])
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(service) as port,
        open_page(chromium, Path(folder) / "profile") as opened,
    ):
        image = Path(folder) / "photo.png"
        image.write_bytes(encode())
        opened.call("Page.navigate", url=f"http://{HOST}:{port}/")
        wait_until(holds(opened, "document.getElementById('model')?.options.length === 2"))
        root = opened.call("DOM.getDocument")["root"]["nodeId"]
        file = opened.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        opened.call("DOM.setFileInputFiles", files=[str(image)], nodeId=file)
        wait_until(holds(opened, f"{ROWS} === 4"), 60)  # two objects in each of two views
        yield opened
        outside = [
            url
            for url in opened.requested
            if not url.startswith((f"http://{HOST}:{port}/", "blob:", "data:"))
        ]
        assert not outside


def holds(page: Page, script: str) -> Callable[[], bool]:
    return lambda: page.evaluate(script) is True


def posts(page: Page) -> int:
    page.evaluate("0")  # events until now arrive
    return sum("/detect" in url for url in page.requested)


@pytest.mark.long
def test_classes_have_the_colors_of_drawn_pictures(page: Page) -> None:
    chips = "[...document.querySelectorAll('#classes i')]"
    shown = page.evaluate(f"{chips}.map((each) => getComputedStyle(each).backgroundColor)")
    colors = label_colors(range(len(NAMES)), NAMES)
    assert shown == [f"rgb{color}" for color in colors]
    for canvas in range(2):
        pixels = (
            f"(() => {{ const canvas = document.querySelectorAll('canvas')[{canvas}];"
            "const { data } = canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height);"
            "return [...new Set(new Uint32Array(data.buffer))] })()"
        )
        drawn = [tuple(int(each).to_bytes(4, "little")[:3]) for each in page.evaluate(pixels)]
        assert set(colors) <= set(drawn)


@pytest.mark.long
def test_threshold_and_classes_need_no_new_request(page: Page) -> None:
    before = posts(page)
    page.evaluate(
        "(() => { const slider = document.getElementById('threshold'); slider.value = 0.1;"
        "slider.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate(ROWS) == 6
    page.evaluate("document.querySelector('#classes input').click()")  # without cats
    assert page.evaluate(ROWS) == 4
    page.evaluate("document.querySelector('#classes input').click()")
    assert (page.evaluate(ROWS), posts(page)) == (6, before)


@pytest.mark.long
def test_click_and_keyboard_explain_a_place_in_both_models(page: Page) -> None:
    sentences = "[...document.querySelectorAll('.explanation p')].map((p) => p.textContent)"
    page.evaluate(
        "(() => { const canvas = document.querySelector('canvas');"
        "const area = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('click',"
        "{clientX: area.left + area.width / 4, clientY: area.top + area.height / 2})); })()"
    )
    wait_until(holds(page, f"{sentences}.join().includes('a dog is at 20, 30')"))
    wait_until(holds(page, f"{sentences}.join().includes('{UNEXPLAINED}')"))
    for key in ("ArrowRight", "ArrowRight", "Enter"):  # each arrow moves by 1.6 pixels
        event = f"new KeyboardEvent('keydown', {{key: '{key}'}})"
        page.evaluate(f"document.querySelector('canvas').dispatchEvent({event})")
    wait_until(holds(page, f"{sentences}.join().includes('a dog is at 23, 30')"))
    assert "23, 30" in page.evaluate("document.querySelector('canvas').ariaLabel")
    page.evaluate("document.getElementById('language').click()")  # the same in Chinese
    wait_until(holds(page, f"{sentences}.join().includes('23, 30 有一只狗')"))
    wait_until(holds(page, f"{sentences}.join().includes('需要 PyTorch 来解释')"))
    page.evaluate("document.getElementById('language').click()")
    wait_until(holds(page, f"{sentences}.join().includes('a dog is at 23, 30')"))


@pytest.mark.long
def test_language_changes_by_the_switch(page: Page) -> None:
    label = "document.querySelector('#drop b').textContent"
    assert page.evaluate(label) == "Choose an image"
    page.evaluate("document.getElementById('language').click()")
    assert (page.evaluate(label), page.evaluate("document.documentElement.lang")) == (
        "选择图像",
        "zh-CN",
    )
    page.evaluate("document.getElementById('language').click()")
    assert page.evaluate(label) == "Choose an image"


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_follows_the_color_scheme(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.call("Emulation.clearDeviceMetricsOverride")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_bright = sum(map(int, re.findall(r"\d+", back))) > 3 * 128
    assert is_bright == (scheme == "light")


@pytest.mark.long
def test_labels_do_not_cover_each_other(page: Page) -> None:
    def places(boxes: str) -> list[list[int] | None]:
        places: list[list[int] | None] = page.evaluate(
            "import('/page/drawing.js').then(({ placeLabel }) => { const taken = [];"
            f"return {boxes}.map((box) => {{"
            "const place = placeLabel(box, [50, 20], [200, 90], taken);"
            "if (place) taken.push(place); return place; }); })"
        )
        return places

    assert places("[[10, 30, 100, 60], [12, 30, 90, 60]]") == [[10, 10, 60, 30], [12, 60, 62, 80]]
    assert places("[[190, 0, 200, 90]]") == [[150, 0, 200, 20]]
    assert places("Array(9).fill([10, 20, 60, 70])")[4:] == [None] * 5


@pytest.mark.long
def test_shown_detections_are_saved_as_json(page: Page) -> None:
    found = page.evaluate(
        "new Promise((resolve) => { const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { URL.createObjectURL = make;"
        "blob.text().then(JSON.parse).then(resolve); return make(blob); };"
        "document.getElementById('save-json').click(); })"
    )
    assert [each["model"] for each in found] == ["pets", "file"]
    assert len(found[0]["detections"]) == page.evaluate(ROWS) / 2


@pytest.mark.long
def test_every_control_has_a_name_for_screen_readers(page: Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = ("button", "slider", "checkbox", "combobox", "application", "link")
    roles = [each for each in nodes if each.get("role", {}).get("value") in controls]
    assert len(roles) >= 8
    assert all(each["name"]["value"] for each in roles if not each.get("ignored"))


OPEN_TWO = """(async () => {
  const { fetch } = window, wait = (time) => new Promise((done) => setTimeout(done, time));
  let calls = 0;
  window.fetch = async (path, options) => { // the answers to the first image's two are late
    const isLate = path.startsWith("detect") && calls++ < 2, answer = await fetch(path, options);
    if (isLate) await wait(1000);
    if (isLate && FAILS) throw new Error();
    return answer;
  };
  for (const content of CONTENTS) {
    const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
    await wait(300);
  }
  await wait(1500);
  window.fetch = fetch;
  const box = document.querySelector("tbody tr").lastChild.textContent;
  return [box, document.getElementById("status").textContent];
})()"""


@pytest.mark.long
@pytest.mark.parametrize("fails", ["false", "true"])
def test_last_image_stays_though_an_earlier_answer_comes_later(page: Page, fails: str) -> None:
    contents = [as_base64(encode(size=size)) for size in ((60, 120), (30, 40))]
    script = OPEN_TWO.replace("CONTENTS", str(contents)).replace("FAILS", fails)
    box, status = page.evaluate(script)
    assert box == "4, 3, 20, 18"  # of the second image
    assert status.startswith("pets: ")
