"""The predictor: sources, detections in pixels of the image, unreadable files."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from centernet2.data.resize import FitShortestEdge
from centernet2.predictor import Predictor, as_image, find_images
from centernet2.structures import Detections, ModelInfo

HEIGHT, WIDTH = 30, 40


class FakeDetector(nn.Module):
    """Detect the whole image, a weaker box in its middle, and one just outside."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(1, 1)
        self.batches: list[list[tuple[int, ...]]] = []

    info = ModelInfo()

    def detect(self, images: list[Tensor]) -> list[Detections]:
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append([tuple(image.shape) for image in images])
        detections: list[Detections] = []
        for image in images:
            assert image.dtype == torch.uint8 and image.shape[0] == 3
            h, w = image.shape[1:]
            boxes = [[-5, -5, w + 5, h + 5], [w / 4, h / 4, w / 2, h / 2], [w, 0, w + 9, h]]
            detections.append(
                {
                    "boxes": torch.tensor(boxes, dtype=torch.float32),
                    "scores": torch.tensor([0.9, 0.4, 0.8]),
                    "labels": torch.tensor([1, 0, 1]),
                }
            )
        return detections


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def save(folder: Path, name: str, pixels: np.ndarray) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_all_sources_give_equal_pixels(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path, "a.png", pixels)
    opaque = np.full((HEIGHT, WIDTH, 1), 255, dtype=np.uint8)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    sources = [path, str(path), path.read_bytes(), Image.open(path), pixels, read_only, expected]
    sources += [np.concatenate([pixels, opaque], axis=2), np.flip(pixels[..., ::-1], axis=2)]
    for source in sources:
        assert torch.equal(as_image(source), expected), type(source)


def test_grey_images_get_three_channels(pixels: np.ndarray) -> None:
    gray = pixels[..., 0]
    expected = torch.from_numpy(gray.copy()).expand(3, -1, -1)
    for source in (gray, gray[..., None], torch.tensor(gray)[None], Image.fromarray(gray)):
        assert torch.equal(as_image(source), expected)


@pytest.mark.parametrize("mode", ["I;16", "I", "L", "LA", "P", "1", "RGBA", "CMYK"])
def test_pillow_images_equal_their_files(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    if mode.startswith("I"):
        values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
        image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        image = Image.fromarray(pixels).convert(mode)
    assert image.mode == mode
    path = tmp_path / "a.tif"
    image.save(path)
    for source in (image, Image.open(path)):
        assert torch.equal(as_image(source), as_image(path))


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(ValueError, match="floating-point pixels have no defined range"):
        as_image(Image.new("F", (WIDTH, HEIGHT)))
    with pytest.raises(ValueError, match=r"\[3, 0, 5\]"):
        as_image(Image.new("L", (5, 0)))


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((5, 6, 3)),
        np.zeros((5, 6, 2), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros(5, np.uint8),
        torch.zeros(3, 5, 6),
        torch.zeros(5, 6, 3, dtype=torch.uint8),
        torch.zeros(5, 6, dtype=torch.uint8),
    ],
)
def test_error_describes_wrong_arrays(source: np.ndarray | Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8 .*not (float\d+|uint8|int64|bool) \["):
        as_image(source)


def test_error_names_unknown_types() -> None:
    with pytest.raises(ValueError, match="type int is not supported"):
        Predictor(FakeDetector())(3)  # type: ignore[call-overload]


@pytest.mark.parametrize("resize", [None, FitShortestEdge(length=90, max_size=1000)])
def test_boxes_are_in_original_pixels(pixels: np.ndarray, resize: FitShortestEdge | None) -> None:
    model = FakeDetector()
    detections = Predictor(model, resize=resize)(pixels)
    assert detections["boxes"].tolist() == [
        [0, 0, WIDTH, HEIGHT],
        [WIDTH / 4, HEIGHT / 4, WIDTH / 2, HEIGHT / 2],
    ]
    assert detections["scores"].tolist() == pytest.approx([0.9, 0.4])
    assert detections["labels"].tolist() == [1, 0]
    assert model.batches == [[(3, HEIGHT, WIDTH) if resize is None else (3, 90, 120)]]


@pytest.mark.parametrize("several", [list, tuple])
def test_list_and_tuple_give_a_list(several: type, pixels: np.ndarray) -> None:
    model = FakeDetector()
    predictor = Predictor(model, batch_size=2)
    images = several([pixels, pixels[:10], torch.tensor(pixels[:, :, 0])[None]])
    detections = predictor(images, score_threshold=0.5)
    assert [each["boxes"].tolist() for each in detections] == [
        [[0, 0, WIDTH, HEIGHT]],
        [[0, 0, WIDTH, 10]],
        [[0, 0, WIDTH, HEIGHT]],
    ]
    assert [len(batch) for batch in model.batches] == [2, 1]
    assert predictor([]) == []


def test_find_images_in_folders_and_patterns(tmp_path: Path, pixels: np.ndarray) -> None:
    a, b = save(tmp_path, "a.PNG", pixels), save(tmp_path, "deep/b.jpg", pixels)
    (tmp_path / "notes.txt").write_text("no image")
    assert find_images([tmp_path]) == [a, b]
    assert find_images([str(tmp_path / "**/*.jpg"), b, a]) == [b, a]
    # a named file is accepted: reading it reports an error
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "absent.jpg", tmp_path / "*.bmp"):
        with pytest.raises(FileNotFoundError, match="no image found"):
            find_images([a, nothing])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_bad_file_is_skipped(
    tmp_path: Path, pixels: np.ndarray, caplog: pytest.LogCaptureFixture, batch_size: int
) -> None:
    good = [save(tmp_path, f"{name}.png", pixels) for name in "ac"]
    bad = tmp_path / "b.png"
    bad.write_bytes(b"not an image")
    paths = [good[0], bad, good[1]]
    failed = []
    predictor = Predictor(FakeDetector(), batch_size=batch_size)
    predictions = list(
        predictor.predict_files(
            paths, on_error=lambda path, error: failed.append((path, str(error)))
        )
    )
    assert [prediction.path for prediction in predictions] == good
    assert torch.equal(predictions[0].image, as_image(pixels))
    assert len(predictions[0].detections["boxes"]) == 2
    assert (
        [path for path, _ in failed] == [bad]
        and "b.png" in failed[0][1]
        and "\n" not in failed[0][1]
    )
    with caplog.at_level(logging.WARNING):
        assert len(list(predictor.predict_files(paths, score_threshold=0.95))) == 2
    assert "b.png" in caplog.text


def test_only_files_are_rotated_upright(pixels: np.ndarray) -> None:
    """Pixels that are passed are not rotated, so that boxes fit them."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(stream, "jpeg", exif=exif)
    assert as_image(Image.open(stream)).shape == (3, HEIGHT, WIDTH)
    assert as_image(stream.getvalue()).shape == (3, WIDTH, HEIGHT)


class FakeMaskDetector(FakeDetector):
    """Detect boxes with masks that fill their left half."""

    def detect(self, images: list[Tensor]) -> list[Detections]:
        half = (torch.arange(28) < 14).float().expand(3, 28, 28)
        return [{**own, "box_masks": half} for own in super().detect(images)]


def test_masks_are_in_original_pixels(pixels: np.ndarray) -> None:
    predictor = Predictor(FakeMaskDetector(), resize=FitShortestEdge(length=60, max_size=1000))
    detections = predictor(pixels)
    assert set(detections) == {"boxes", "scores", "labels", "masks"}
    masks = detections["masks"]
    assert masks.dtype == torch.bool and masks.shape == (2, HEIGHT, WIDTH)
    columns = masks.any(dim=1)  # [2, W]
    left, middle = WIDTH // 2, slice(WIDTH // 4, 3 * WIDTH // 8)
    assert columns[0, :left].all() and not columns[0, left:].any()
    assert columns[1, middle].all() and columns[1].sum() == WIDTH // 8
    assert predictor(pixels, score_threshold=0.99)["masks"].shape == (0, HEIGHT, WIDTH)


def test_training_modes_are_restored(pixels: np.ndarray) -> None:
    model = FakeDetector().train()
    model.frozen.eval()
    predictor = Predictor(model)
    predictor(pixels)
    assert model.training and not model.frozen.training
    with pytest.raises(RuntimeError):
        Predictor(model, resize=lambda image: image.view(7))(pixels)
    assert model.training and not model.frozen.training


def test_score_threshold_per_class(pixels: np.ndarray) -> None:
    predictor = Predictor(FakeDetector())
    assert predictor(pixels, score_threshold=(0.5, 0.5))["labels"].tolist() == [1]
    assert predictor(pixels, score_threshold=(0.3, 0.95))["labels"].tolist() == [0]
