"""Detections on images from anywhere: files, bytes, Pillow, numpy, tensors."""

import glob
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich import get_console
from rich.progress import track
from torch import Tensor, nn

from centernet2.data.image import read_image
from centernet2.data.resize import make_test_resize
from centernet2.files import is_image_file
from centernet2.ops.boxes import nonempty, scale_boxes
from centernet2.ops.masks import paste_masks, resize_masks
from centernet2.structures import Detections, ModelInfo, select

logger = logging.getLogger(__name__)


ImageSource: TypeAlias = Path | str | bytes | Image.Image | NDArray[Any] | Tensor
Item = TypeVar("Item")
Resize: TypeAlias = Callable[[Tensor], Tensor]
Threshold: TypeAlias = float | Sequence[float]  # one for all, or one for each class, by label
OnError: TypeAlias = Callable[[Path, Exception], None]


class Prediction(NamedTuple):
    """An image file with what was found in it."""

    path: Path
    image: Tensor  # uint8 [3, H, W] RGB
    detections: Detections  # in pixels of the image


class Predictor:
    """Runs a detector on images and gives its detections in their own pixels.

    Args:
        model: a detector; it is put into evaluation mode.
        class_names: by label, for those who show or write the detections; default: those that the model knows.
        resize: brings an image to the size that the model wants; default: the model's own, if it has one.
        batch_size: images that go through the model together.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        class_names: Sequence[str] | None = None,
        resize: Resize | None = None,
        batch_size: int = 1,
    ) -> None:
        self.model = model.eval()
        info: ModelInfo = getattr(model, "info", ModelInfo())
        self.class_names = tuple(class_names or info.class_names) or None
        # one for each class, where they were chosen for the checkpoint; for those who ask with `score_threshold`
        self.score_thresholds = info.score_thresholds
        self.resize: Resize = resize or make_test_resize(info.test_size)
        self.batch_size = batch_size

    @overload
    def __call__(
        self, source: list[ImageSource], *, score_threshold: Threshold = 0.0
    ) -> list[Detections]: ...
    @overload
    def __call__(self, source: ImageSource, *, score_threshold: Threshold = 0.0) -> Detections: ...

    def __call__(
        self, source: ImageSource | list[ImageSource], *, score_threshold: Threshold = 0.0
    ) -> Detections | list[Detections]:
        """Detections of one image, or of each image of a list, with at least this score (or that of their class)."""
        if not isinstance(source, list):
            return self._detect([as_image(source)], score_threshold)[0]
        images = map(as_image, source)
        chunks = _chunks(images, self.batch_size)
        return [
            detections for chunk in chunks for detections in self._detect(chunk, score_threshold)
        ]

    def predict_files(
        self,
        paths: Sequence[Path],
        *,
        score_threshold: Threshold = 0.0,
        on_error: OnError | None = None,
    ) -> Iterator[Prediction]:
        """Detections file by file, with a bar of progress; `on_error` hears of a bad image, the others go on.

        Without `on_error` a bad image leaves a line in the log.
        """
        console = get_console()
        shown = track(paths, "predicting", console=console, disable=not console.is_interactive)
        for chunk in _chunks(_readable(shown, on_error or _log_error), self.batch_size):
            found = self._detect([image for _, image in chunk], score_threshold)
            for (path, image), detections in zip(chunk, found, strict=True):
                yield Prediction(path, image, detections)

    @torch.inference_mode()
    def _detect(self, images: Sequence[Tensor], score_threshold: Threshold) -> list[Detections]:
        inputs = [self.resize(image) for image in images]
        outputs = zip(self.model(inputs), inputs, images, strict=True)
        return [
            _on_original(found, input, image, score_threshold) for found, input, image in outputs
        ]


def _on_original(
    detections: Detections, input: Tensor, image: Tensor, score_threshold: Threshold
) -> Detections:
    """From the pixels of the model's input to those of the image; without weak boxes and what clipping leaves empty."""
    sizes = [(each.shape[1], each.shape[2]) for each in (input, image)]
    boxes = scale_boxes(detections["boxes"], sizes[0], sizes[1])
    scores = detections["scores"]
    least = (
        score_threshold
        if isinstance(score_threshold, float | int)
        else scores.new_tensor(score_threshold)
    )
    if isinstance(least, Tensor):
        least = least[detections["labels"]]  # [D]
    kept = nonempty(boxes) & (scores >= least)
    found = select({**detections, "boxes": boxes}, kept)
    if "box_masks" in found:  # pasted anew: what the model pasted has the size of its input
        found["masks"] = paste_masks(found.pop("box_masks"), found["boxes"], sizes[1])
    elif "masks" in found:
        found["masks"] = resize_masks(found["masks"], sizes[1])
    return found


def as_image(source: ImageSource) -> Tensor:  # uint8 [3, H, W] RGB
    """An image in the form that the detector takes.

    Arrays are [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in the order R, G, B, alpha; tensors [1, H, W] or [3, H, W].
    Files are turned upright as their EXIF orientation says; pixels that were already decoded stay as they are.
    """
    if isinstance(source, Path | str | bytes):
        return read_image(source)
    if isinstance(source, Image.Image):
        return _from_array(np.array(source.convert("RGB")))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Tensor):
        _require(source, source.ndim == 3 and source.shape[0] in (1, 3), "[3, H, W]")
        return source.expand(3, -1, -1).contiguous()
    raise ValueError(
        f"an image of type {type(source).__name__} is unknown; give a path, bytes, PIL, numpy or torch"
    )


def _from_array(array: NDArray[Any]) -> Tensor:  # uint8 [3, H, W]
    pixels = array[..., None] if array.ndim == 2 else array
    _require(
        array, pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4), "[H, W], [H, W, 3] or [H, W, 4]"
    )
    channels = torch.tensor(pixels[..., :3]).permute(
        2, 0, 1
    )  # a copy: the array may be read-only or reversed
    return channels.expand(3, -1, -1).contiguous()


def _require(source: NDArray[Any] | Tensor, fits: bool, wanted: str) -> None:
    if not fits or source.dtype not in (torch.uint8, np.uint8) or 0 in source.shape:
        raise ValueError(
            f"an image is uint8 {wanted}, not {source.dtype} {list(source.shape)}; convert it"
        )


def find_images(sources: Iterable[Path | str]) -> list[Path]:
    """The image files that paths, folders (all below them) and globs name, each once."""
    found: dict[Path, None] = {}
    for source in sources:
        paths = _expand(source)
        if not paths:
            raise FileNotFoundError(
                f"{source}: no image found; give image files, folders of images or a pattern"
            )
        found |= dict.fromkeys(paths)
    return list(found)


def _expand(source: Path | str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    candidates = (
        path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))
    )
    return sorted(each for each in candidates if is_image_file(each) and each.is_file())


def _readable(paths: Iterable[Path], on_error: OnError) -> Iterator[tuple[Path, Tensor]]:
    for path in paths:
        try:
            yield path, read_image(path)
        except (ValueError, OSError) as error:
            on_error(path, error)


def _log_error(path: Path, error: Exception) -> None:
    logger.warning("%s", error)  # it names the file


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
