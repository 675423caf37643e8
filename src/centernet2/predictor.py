"""Run a detector on images from files, bytes, Pillow, numpy or tensors."""

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
from torch import Tensor

from centernet2.data.image import from_pillow, read_image
from centernet2.data.resize import make_test_resize
from centernet2.files import is_image_file
from centernet2.models.modes import evaluation_mode
from centernet2.models.postprocess import Threshold, paste, to_original
from centernet2.models.preprocess import size_of
from centernet2.structures import Detections, ImageDetector

logger = logging.getLogger(__name__)

ImageSource: TypeAlias = Path | str | bytes | Image.Image | NDArray[Any] | Tensor
ImageSources: TypeAlias = list[ImageSource] | tuple[ImageSource, ...]
Item = TypeVar("Item")
Resize: TypeAlias = Callable[[Tensor], Tensor]
OnError: TypeAlias = Callable[[Path, Exception], None]


class Prediction(NamedTuple):
    """An image file with its detections."""

    path: Path
    image: Tensor  # uint8 [3, H, W] RGB
    detections: Detections  # in pixels of the image


class Predictor:
    """Run a detector on images; detections are in pixels of the original images.

    Args:
        model: a detector; its mode, training or evaluation, stays as it is.
        class_names: by label, for drawing and writing detections; default: the model's.
        resize: resizes an image to the input size of the model; default: the model's test size.
        batch_size: images per forward pass.
    """

    def __init__(
        self,
        model: ImageDetector,
        *,
        class_names: Sequence[str] | None = None,
        resize: Resize | None = None,
        batch_size: int = 1,
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names or model.info.class_names) or None
        self.score_thresholds = model.info.score_thresholds  # not applied unless passed to a call
        self.resize = resize or make_test_resize(model.info.test_size)
        self.batch_size = batch_size

    @overload
    def __call__(
        self, source: ImageSources, *, score_threshold: Threshold = 0.0
    ) -> list[Detections]: ...
    @overload
    def __call__(self, source: ImageSource, *, score_threshold: Threshold = 0.0) -> Detections: ...

    def __call__(
        self, source: ImageSource | ImageSources, *, score_threshold: Threshold = 0.0
    ) -> Detections | list[Detections]:
        """Return the detections of one image, or of each image of a list or tuple.

        Args:
            source: an image, or a list or tuple of images.
            score_threshold: minimum score of a detection, for all classes or for each.
        """
        if not isinstance(source, list | tuple):
            return self._detect([as_image(source)], score_threshold)[0]
        chunks = _chunks(map(as_image, source), self.batch_size)
        return [each for chunk in chunks for each in self._detect(chunk, score_threshold)]

    def predict_files(
        self,
        paths: Sequence[Path],
        *,
        score_threshold: Threshold = 0.0,
        on_error: OnError | None = None,
    ) -> Iterator[Prediction]:
        """Yield the detections of each image file, with a progress bar.

        Args:
            paths: image files.
            score_threshold: as for a call.
            on_error: called for each unreadable file, which is skipped; default: log a warning.
        """
        console = get_console()
        shown = track(paths, "predicting", console=console, disable=not console.is_interactive)
        for chunk in _chunks(_readable(shown, on_error or _log_error), self.batch_size):
            detections = self._detect([image for _, image in chunk], score_threshold)
            for (path, image), own in zip(chunk, detections, strict=True):
                yield Prediction(path, image, own)

    def _detect(self, images: Sequence[Tensor], score_threshold: Threshold) -> list[Detections]:
        detections: list[Detections] = []
        with evaluation_mode(self.model), torch.inference_mode():
            inputs = [self.resize(image) for image in images]
            for own, input, image in zip(self.model.detect(inputs), inputs, images, strict=True):
                size = size_of(image)
                kept, _ = to_original(own, size_of(input), size, score_threshold=score_threshold)
                detections.append(paste(kept, size))
        return detections


def as_image(source: ImageSource) -> Tensor:  # uint8 [3, H, W] RGB
    """Convert an image to the input format of a detector.

    Arrays are [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in the order R, G, B, alpha, tensors
    [1, H, W] or [3, H, W]. Files are rotated by their EXIF orientation, decoded pixels are not.
    """
    if isinstance(source, Path | str | bytes):
        return read_image(source)
    if isinstance(source, Image.Image):
        source = from_pillow(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Tensor):
        _require(source, source.ndim == 3 and source.shape[0] in (1, 3), "[3, H, W]")
        return source.expand(3, -1, -1).contiguous()
    raise ValueError(
        f"an image of type {type(source).__name__} is not supported; "
        "give a path, bytes, PIL, numpy or torch"
    )


def _from_array(array: NDArray[Any]) -> Tensor:  # uint8 [3, H, W]
    pixels = array[..., None] if array.ndim == 2 else array
    _require(
        array, pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4), "[H, W], [H, W, 3] or [H, W, 4]"
    )
    # a copy: the array may be read-only or reversed
    channels = torch.tensor(pixels[..., :3]).permute(2, 0, 1)
    return channels.expand(3, -1, -1).contiguous()


def _require(source: NDArray[Any] | Tensor, fits: bool, wanted: str) -> None:
    if not fits or source.dtype not in (torch.uint8, np.uint8) or 0 in source.shape:
        raise ValueError(
            f"an image is uint8 {wanted}, not {source.dtype} {list(source.shape)}; convert it"
        )


def find_images(sources: Iterable[Path | str]) -> list[Path]:
    """Find image files by path, folder (recursively) or glob pattern, each once."""
    unique: dict[Path, None] = {}
    for source in sources:
        paths = _expand(source)
        if not paths:
            raise FileNotFoundError(
                f"{source}: no image found; give image files, folders of images or a pattern"
            )
        unique |= dict.fromkeys(paths)
    return list(unique)


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
