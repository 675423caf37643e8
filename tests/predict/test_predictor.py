"""The predictor: sources, detections in pixels of the image, unreadable files."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from centernet2.images.resize import FitShortestEdge
from centernet2.predict.predictor import Predictor
from centernet2.predict.tiling import Tiling
from centernet2.structures import Detections, ModelInfo
from tests.helpers.colored_objects import ColorDetector, ColoredObjects
from tests.helpers.jobs import build_untrained
from tests.helpers.networks import build

HEIGHT, WIDTH = 30, 40


class FakeDetector(nn.Module):
    """Detect the whole image, a weaker box in its middle, and one just outside."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(1, 1)
        self.batches: list[list[tuple[int, ...]]] = []

    info = ModelInfo()
    num_classes: int | None = None  # unknown

    def detect(self, images: list[Tensor]) -> list[Detections]:
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append([tuple(image.shape) for image in images])
        detections: list[Detections] = []
        for image in images:
            assert image.dtype == torch.uint8 and image.shape[0] == 3
            h, w = image.shape[1:]
            boxes = [[-5, -5, w + 5, h + 5], [w / 4, h / 4, w / 2, h / 2], [w, 0, w + 9, h]]
            detections.append({
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "scores": torch.tensor([0.9, 0.4, 0.8]), "labels": torch.tensor([1, 0, 1]),
            })  # fmt: skip
        return detections


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def save(folder: Path, name: str, pixels: np.ndarray) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_image_of_a_list_is_numbered(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image 1 of the list: an image is uint8"):
        Predictor(FakeDetector())([pixels, pixels / 255.0])


def test_error_names_unknown_types() -> None:
    with pytest.raises(ValueError, match="type int is not supported"):
        Predictor(FakeDetector())(3)  # type: ignore[call-overload]


@pytest.mark.parametrize("resize", [None, FitShortestEdge(length=90, max_size=1000)])
def test_boxes_are_in_original_pixels(pixels: np.ndarray, resize: FitShortestEdge | None) -> None:
    model = FakeDetector()
    detections = Predictor(model, resize=resize)(pixels)
    middle = [WIDTH / 4, HEIGHT / 4, WIDTH / 2, HEIGHT / 2]
    assert detections.boxes.tolist() == [[0, 0, WIDTH, HEIGHT], middle]
    assert detections.scores.tolist() == pytest.approx([0.9, 0.4])
    assert detections.labels.tolist() == [1, 0]
    assert model.batches == [[(3, HEIGHT, WIDTH) if resize is None else (3, 90, 120)]]


@pytest.mark.parametrize("several", [list, tuple])
def test_list_and_tuple_give_a_list(several: type, pixels: np.ndarray) -> None:
    model = FakeDetector()
    predictor = Predictor(model, batch_size=2)
    images = several([pixels, pixels[:10], torch.tensor(pixels[:, :, 0])[None]])
    detections = predictor(images, score_threshold=0.5)
    sizes = [(each.boxes.tolist(), each.size) for each in detections]
    assert sizes == [([[0, 0, WIDTH, h]], (h, WIDTH)) for h in (HEIGHT, 10, HEIGHT)]
    assert [len(batch) for batch in model.batches] == [2, 1]
    assert predictor([]) == []


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_impossible_batch_size_is_named(size: object) -> None:
    with pytest.raises(ValueError, match=f"batch_size is {size}; it takes a whole number from 1"):
        Predictor(FakeDetector(), batch_size=size)  # type: ignore[arg-type]


def test_class_names_fit_the_model() -> None:
    model = FakeDetector()
    model.num_classes = 2
    with pytest.raises(ValueError, match="class_names has 1 names, but the model has 2 classes"):
        Predictor(model, class_names=["cat"])
    with pytest.raises(ValueError, match="class_names is the text 'ab'"):
        Predictor(model, class_names="ab")


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_detections_are_ordinary_tensors(pixels: np.ndarray, masks: bool) -> None:
    """They can be used in a graph."""
    predictor = Predictor(FakeMaskDetector() if masks else FakeDetector(), batch_size=2)
    for prediction in [predictor(pixels), *predictor([pixels] * 3, score_threshold=[0.1, 0.1])]:
        own = prediction.to_detections()
        assert ("masks" in own) is masks
        assert not any(value.is_inference() for value in own.values())  # type: ignore[attr-defined]
        weights = torch.ones(4, requires_grad=True)
        (own["boxes"] * weights).sum().backward()
        assert weights.grad is not None


@pytest.mark.parametrize("batch_size", [1, 3])
def test_bad_file_is_skipped(
    tmp_path: Path, pixels: np.ndarray, caplog: pytest.LogCaptureFixture, batch_size: int
) -> None:
    good = [save(tmp_path, f"{name}.png", pixels) for name in "ac"]
    bad = tmp_path / "b.png"
    bad.write_bytes(b"not an image")
    paths = [good[0], bad, good[1]]
    failed: list[tuple[Any, ...]] = []
    predictor = Predictor(FakeDetector(), batch_size=batch_size)
    predictions = list(predictor.stream(paths, on_error=lambda *error: failed.append(error)))
    assert [prediction.path for prediction in predictions] == good
    assert np.array_equal(predictions[0].image, pixels)
    assert len(predictions[0]) == 2
    ((path, error),) = failed
    assert path == bad and "b.png" in str(error) and "\n" not in str(error)
    with caplog.at_level(logging.WARNING):
        assert len(list(predictor.stream(paths, score_threshold=0.95))) == 2
    assert "b.png" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_every_form_of_an_image_gives_equal_boxes(
    tmp_path: Path, pixels: np.ndarray, orientation: int, suffix: str
) -> None:
    """A path, content, a list, an address and an image of Pillow, of each EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **({"quality": 90} if suffix == ".jpg" else {}))
    fsspec = pytest.importorskip("fsspec", reason="addresses need fsspec, the extra [remote]")
    fsspec.filesystem("memory").pipe(f"/{path.name}", path.read_bytes())
    predictor = Predictor(BrightestDetector())
    first = predictor(path)
    others = [
        predictor(str(path)), predictor(path.read_bytes()), predictor(Image.open(path)),
        predictor(f"memory://{path.name}"), predictor([path])[0], next(predictor.stream(path)),
        next(predictor.stream([Image.open(path)])), predictor(first.image),
        predictor(torch.from_numpy(first.image).permute(2, 0, 1)),
        predictor(first.image[..., ::-1], color="bgr"),
    ]  # fmt: skip
    for other in others:
        assert np.array_equal(other.boxes, first.boxes)
    assert first.size == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))


class BrightestDetector(FakeDetector):
    """Detect a box whose corners are the brightest red and the brightest blue pixel."""

    def detect(self, images: list[Tensor]) -> list[Detections]:
        found = super().detect(images)
        for own, image in zip(found, images, strict=True):
            red, blue = (divmod(int(image[c].argmax()), image.shape[2]) for c in (0, 2))
            low, high = np.minimum(red, blue), np.maximum(red, blue) + 1
            own["boxes"][:] = torch.tensor([low[1], low[0], high[1], high[0]])
        return found


def test_explanation_takes_the_color_of_a_call(pixels: np.ndarray) -> None:
    predictor = Predictor(build_untrained())
    explanation = predictor.explain(pixels[..., ::-1], np.int64(3), np.float32(4), color="bgr")
    assert np.array_equal(explanation.image, pixels)
    assert json.loads(json.dumps(explanation.to_dict()))["point"] == [3, 4]


def test_color_is_rgb_or_bgr(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"color is 'BGR'; give 'rgb', or 'bgr'"):
        Predictor(FakeDetector())(pixels, color="BGR")  # type: ignore[call-overload]


def test_film_is_no_image() -> None:
    with pytest.raises(ValueError, match=r"a\.mp4 is a film; predictor\.stream\('a\.mp4'\) yields"):
        Predictor(FakeDetector())("a.mp4")


def test_predictions_of_a_list_read_their_files_again(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path, "a.png", pixels)
    of_file, of_pixels = Predictor(FakeDetector())([path, pixels])
    assert of_file.pixels is None and np.array_equal(of_file.image, pixels)
    assert of_pixels.pixels is not None and of_pixels.path is None


class FakeMaskDetector(FakeDetector):
    """Detect boxes with masks that fill their left half."""

    def detect(self, images: list[Tensor]) -> list[Detections]:
        half = (torch.arange(28) < 14).float().expand(3, 28, 28)
        return [{**own, "box_masks": half} for own in super().detect(images)]


def test_masks_are_in_original_pixels(pixels: np.ndarray) -> None:
    predictor = Predictor(FakeMaskDetector(), resize=FitShortestEdge(length=60, max_size=1000))
    detections = predictor(pixels)
    assert set(detections.columns) == {"box_masks"}
    masks = detections.masks
    assert masks.dtype == np.bool_ and masks.shape == (2, HEIGHT, WIDTH)
    columns = masks.any(axis=1)  # [2, W]
    left, middle = WIDTH // 2, slice(WIDTH // 4, 3 * WIDTH // 8)
    assert columns[0, :left].all() and not columns[0, left:].any()
    assert columns[1, middle].all() and columns[1].sum() == WIDTH // 8
    assert predictor(pixels, score_threshold=0.99).masks.shape == (0, HEIGHT, WIDTH)


def test_training_modes_are_restored(pixels: np.ndarray) -> None:
    model = FakeDetector().train()
    model.frozen.eval()
    predictor = Predictor(model)
    predictor(pixels)
    assert model.training and not model.frozen.training
    with pytest.raises(RuntimeError):
        Predictor(model, resize=lambda image: image.view(7))(pixels)
    assert model.training and not model.frozen.training


def test_scores_of_both_stages_and_proposals(pixels: np.ndarray) -> None:
    prediction = Predictor(build_untrained().eval())(pixels)
    assert len(prediction) > 0
    joined = np.sqrt(prediction.objectness * prediction.class_probability)
    assert prediction.scores == pytest.approx(joined, abs=1e-6)
    boxes = prediction.proposals
    assert len(boxes) > 0 and boxes.min() >= 0 and boxes[:, 2].max() <= WIDTH
    one_stage = Predictor(FakeDetector())(pixels)
    with pytest.raises(AttributeError, match="no objectness: a two-stage detector has it"):
        _ = one_stage.objectness
    with pytest.raises(AttributeError, match=r"no masks: .*MODEL\.MASK_ON True"):
        _ = prediction.masks


def test_score_threshold_per_class(pixels: np.ndarray) -> None:
    predictor = Predictor(FakeDetector())
    assert predictor(pixels, score_threshold=(0.5, 0.5)).labels.tolist() == [1]
    assert predictor(pixels, score_threshold=(0.3, 0.95)).labels.tolist() == [0]
    assert predictor(pixels, score_threshold=np.float32(0.5)).labels.tolist() == [1]
    with pytest.raises(ValueError, match="score_threshold is 30"):
        predictor(pixels, score_threshold=30)
    with pytest.raises(ValueError, match="score_threshold is nan"):
        predictor.stream([], score_threshold=float("nan"))


def test_score_threshold_by_class_name(pixels: np.ndarray) -> None:
    predictor = Predictor(FakeDetector(), class_names=["cat", "dog"])
    assert predictor(pixels, score_threshold={"dog": 0.95}).labels.tolist() == [0]
    with pytest.raises(ValueError, match="nearest of its 2 classes is 'cat'"):
        predictor(pixels, score_threshold={"cats": 0.5})


def test_scores_below_the_threshold_are_reported(tmp_path: Path, pixels: np.ndarray) -> None:
    path, seen = save(tmp_path, "a.png", pixels), []
    predictor = Predictor(FakeDetector())
    (prediction,) = predictor.stream([path], score_threshold=1.0, on_scores=seen.append)
    assert len(prediction) == 0
    assert np.concatenate(seen).max() == pytest.approx(0.9)


def test_stream_takes_paths_in_any_form(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path, "a.png", pixels)
    predictor = Predictor(FakeDetector())
    for source in (path, str(path), tmp_path, [path], (str(each) for each in [path]), {path}):
        (prediction,) = predictor.stream(source)
        assert prediction.path == path and np.array_equal(prediction.image, pixels)
    (prediction,) = predictor.stream(pixels)
    assert prediction.path is None and np.array_equal(prediction.image, pixels)
    with pytest.raises(FileNotFoundError, match="no image found"):
        predictor.stream(tmp_path / "gone.png")


def test_several_images_in_any_container(tmp_path: Path, pixels: np.ndarray) -> None:
    paths = [save(tmp_path, f"{name}.png", pixels) for name in "ab"]
    predictor = Predictor(FakeDetector(), batch_size=2)
    single = predictor(paths[0])
    containers: list[Any] = [
        (path for path in paths), map(str, paths), {*map(str, paths)}, iter(paths),
        np.array([str(path) for path in paths]), np.array(paths, dtype=object), Column(paths),
        dict.fromkeys(paths).keys(),
    ]  # fmt: skip
    for container in containers:
        found = predictor(container)
        assert len(found) == 2, type(container)
        assert all(np.array_equal(each.boxes, single.boxes) for each in found)
    with pytest.raises(ValueError, match=r"in a dictionary; give them as a list: list\("):
        predictor({"a": pixels})  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="image 0 of the list: it is a list; give one flat list"):
        predictor([paths, paths])


class Column:
    """A column of a data frame: it becomes an array and is not one."""

    def __init__(self, values: list[Path]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([str(value) for value in self.values], dtype=object)


def test_tiles_of_an_image_are_detected_in_batches() -> None:
    scene, detector = ColoredObjects((400, 700), {60: 12}, seed=0), ColorDetector()
    predictor = Predictor(detector, tiling=Tiling(256), batch_size=4)
    found, other = predictor([scene.image, scene.image[:200, :200]], score_threshold=0.0)
    assert detector.batches == [1, 4, 4, 1] and scene.count(
        {"boxes": found.boxes, "labels": found.labels}
    ) == (12, 0)
    assert other.boxes.max() <= 200
    strong = predictor(scene.image, score_threshold=0.8)
    assert 0 < len(strong.scores) < 12 and (strong.scores >= 0.8).all()


def test_tiles_are_of_images_above_the_limit_of_pillow(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path, name, pixels) for name in ("a.png", "b.tif")]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 3)
    with pytest.raises(ValueError, match=r"a\.png: .* too large .* `predict --tile` reads up to"):
        Predictor(FakeDetector())(paths[0])
    predictor = Predictor(FakeDetector(), tiling=Tiling(32), batch_size=4)
    content = (path.read_bytes() for path in paths)
    several = [*predictor(paths), *predictor.stream(paths), *predictor.stream(content)]
    for prediction in [predictor(paths[0]), *several]:
        assert np.array_equal(prediction.image, pixels)
    assert len(several) == 6


def test_masks_of_tiles_are_pasted_into_the_image() -> None:
    scene = ColoredObjects((300, 500), {60: 5}, seed=0)
    found = Predictor(ColorDetector(masks=True), tiling=Tiling(200))(scene.image)
    assert found.masks.shape == (5, 300, 500)
    for mask, box in zip(found.masks, found.boxes.round().astype(int).tolist(), strict=True):
        assert mask[box[1] : box[3], box[0] : box[2]].mean() > 0.9


@pytest.mark.parametrize(
    "names", [np.array(["a", "b"]), ("a", "b"), iter("ab"), {1: "b", 0: "a"}, [np.str_("a"), "b"]]
)
def test_class_names_in_any_container(names: Any) -> None:
    assert Predictor(FakeDetector(), class_names=names).class_names == ("a", "b")


@pytest.mark.parametrize(("arguments", "message"), [
    ({"class_names": {1: "a", 2: "b"}}, "class_names is a dictionary; give a list"),
    ({"class_names": [1, 2]}, "class_names holds 1; names are texts"),
    ({"resize": 640}, "resize is 640; give a function of an image"),
    ({"model": "a.pth"}, "model is of type str; give a detector, or the weights to"),
])  # fmt: skip
def test_unusable_parts_of_a_predictor_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(**{"model": FakeDetector(), **arguments})


@pytest.mark.parametrize("size", [np.int64(2), torch.tensor(2)])
def test_batch_size_of_other_libraries(size: Any) -> None:
    assert Predictor(FakeDetector(), batch_size=size).batch_size == 2


def test_embeddings_belong_to_the_detections() -> None:
    model = build("masks").eval()
    images = [torch.randint(0, 256, (3, h, 80), dtype=torch.uint8) for h in (60, 90)]
    predictor = Predictor(model, resize=FitShortestEdge(length=48, max_size=400))
    embedded = predictor.embed(images)
    for own, image in zip(embedded, images, strict=True):
        expected = predictor(image)
        assert np.array_equal(own.boxes, expected.boxes) and own.masks.shape == expected.masks.shape
        assert own.embeddings.shape == (len(expected), 32) and len(expected) > 3
        with pytest.raises(AttributeError, match=r"no embeddings: `Predictor\.embed` computes"):
            _ = expected.embeddings
    few = predictor.embed(images[0], score_threshold=float(embedded[0].scores[2]))
    assert len(few) == len(few.embeddings) < len(embedded[0])
    assert np.allclose(few.embeddings, embedded[0].embeddings[: len(few)], atol=1e-5)
    assert np.array_equal(embedded[0][1:3].embeddings, embedded[0].embeddings[1:3])


@pytest.mark.parametrize(("make", "message"), [
    (FakeDetector, "an embedding is of a detector alone"),
    (lambda: build("one-stage"), "a one-stage detector has no RoI features"),
])  # fmt: skip
def test_detectors_without_embeddings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(make()).embed(torch.zeros(3, 40, 50, dtype=torch.uint8))


@pytest.mark.parametrize(("options", "message"), [
    ({"batchsize": 2}, r"Predictor\(\) has no argument 'batchsize'; did you mean 'batch_size'"),
    ({"model": FakeDetector()}, r"Predictor\(\) is multiple values for argument 'model'"),
])  # fmt: skip
def test_misspelled_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Predictor(FakeDetector(), **options)


def test_misspelled_arguments_of_a_call_are_named(pixels: np.ndarray) -> None:
    call: Any = Predictor(FakeDetector())
    with pytest.raises(TypeError, match=r"Predictor\(\) has no argument 'conf'; .*score_threshold"):
        call(pixels, conf=0.5)
