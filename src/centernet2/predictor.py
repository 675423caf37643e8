"""Run a detector on images from files, bytes, Pillow, numpy or tensors."""

import glob
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import torch
from rich import get_console
from rich.progress import track
from torch import Tensor

from centernet2.data.image import read_image
from centernet2.data.resize import make_test_resize
from centernet2.data.storage import remote_url
from centernet2.files import IMAGE_SUFFIXES, irregular_kind, is_image_file, printable
from centernet2.models.detector import Detector
from centernet2.models.explain import explain
from centernet2.models.modes import evaluation_mode
from centernet2.models.postprocess import paste, to_original
from centernet2.models.preprocess import size_of
from centernet2.pictures import is_own_picture
from centernet2.predict.explaining import PointExplanation
from centernet2.predict.image_sources import (
    ImageSource,
    ImageSources,
    as_image,
    numbered_images,
    several_images,
)
from centernet2.predict.tiling import Tiling, detect_tiled
from centernet2.score_thresholds import (
    NO_THRESHOLD,
    Resolved,
    Threshold,
    above_threshold,
    resolve_thresholds,
)
from centernet2.structures import Detections, ImageDetector, select

logger = logging.getLogger(__name__)

StrPath: TypeAlias = str | os.PathLike[str]
T = TypeVar("T")
Resize: TypeAlias = Callable[[Tensor], Tensor]
OnError: TypeAlias = Callable[[Path, Exception], None]
OnScores: TypeAlias = Callable[[Tensor], None]


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
        batch_size: images, or tiles of an image, per forward pass.
        tiling: detect in tiles of each image, too; None: in the whole image alone.
    """

    def __init__(
        self,
        model: ImageDetector,
        *,
        class_names: Iterable[str] | Mapping[int, str] | None = None,
        resize: Resize | None = None,
        batch_size: int = 1,
        tiling: Tiling | None = None,
    ) -> None:
        if not hasattr(model, "detect"):
            raise ValueError(
                f"model is of type {type(model).__name__}; give a detector, or the weights to "
                "centernet2.load_predictor"
            )
        if resize is not None and not callable(resize):
            raise ValueError(
                f"resize is {resize!r}; give a function of an image, such as FitSquare(size=640)"
            )
        self.model = model
        self.num_classes: int | None = getattr(model, "num_classes", None)
        self.class_names = _class_names_of(model, class_names, self.num_classes)
        self.score_thresholds = model.info.score_thresholds  # not applied unless passed to a call
        self.resize = resize or make_test_resize(model.info.test_size)
        self.batch_size = _require_batch_size(batch_size)
        self.tiling = tiling

    @overload
    def __call__(
        self, source: ImageSources, *, score_threshold: Threshold = NO_THRESHOLD
    ) -> list[Detections]: ...
    @overload
    def __call__(
        self, source: ImageSource, *, score_threshold: Threshold = NO_THRESHOLD
    ) -> Detections: ...

    def __call__(
        self, source: ImageSource | ImageSources, *, score_threshold: Threshold = NO_THRESHOLD
    ) -> Detections | list[Detections]:
        """Return the detections of one image, or a list with those of several images.

        Args:
            source: an image in any form of `as_image`; or a list, tuple, set or generator of
                images, or an array or column of paths.
            score_threshold: minimum score of a detection: a number for all classes; a list,
                array or tensor with one for each class, by label; or a mapping from names of
                classes to numbers, which leaves the other classes without a threshold.
        """
        threshold = self.resolve_threshold(score_threshold)
        images = several_images(source)
        if images is None:
            return self._detect([as_image(source)], threshold)[0]
        chunks = _chunks(numbered_images(images), self.batch_size)
        return [each for chunk in chunks for each in self._detect(chunk, threshold)]

    def explain(
        self, source: ImageSource, x: float, y: float, *, score_threshold: Threshold = NO_THRESHOLD
    ) -> PointExplanation:
        """Explain why there is a detection at a point of an image, or why there is none.

        Args:
            source: an image in any form of `as_image`.
            x, y: the point, in pixels of the image.
            score_threshold: as for a call; the explanation says which detections reach it.
        """
        threshold = self.resolve_threshold(score_threshold)
        model, image = self._plain_detector("an explanation"), as_image(source)
        height, width = size_of(image)
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"the point ({x:g}, {y:g}) is outside of the image of {width} x {height} pixels"
            )
        resized = self.resize(image)
        scale = width / resized.shape[2], height / resized.shape[1]
        with evaluation_mode(model):
            record = explain(model, resized, x, y, scale=scale)
        names = model.proposal_generator.in_features
        levels = names or [str(level) for level in range(len(record.locations))]
        return PointExplanation(image, record, levels, self.class_names, threshold)

    def _plain_detector(self, purpose: str) -> Detector:
        """Return the detector, which looks at the whole image once."""
        if self.tiling is not None:
            raise ValueError(f"{purpose} is of the whole image; load the predictor without tiling")
        if not isinstance(self.model, Detector):
            raise ValueError(
                f"{purpose} is of a detector alone; load the predictor with TEST.AUG.ENABLED False"
            )
        return self.model

    def predict_files(
        self,
        paths: Iterable[StrPath],
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        on_error: OnError | None = None,
        on_scores: OnScores | None = None,
    ) -> Iterator[Prediction]:
        """Yield the detections of each image file, with a progress bar.

        Args:
            paths: image files.
            score_threshold: as for a call.
            on_error: called for each unreadable file, which is skipped; default: log a warning.
            on_scores: called for each image with the scores [D] of all its detections, also of
                those below the threshold.
        """
        threshold = self.resolve_threshold(score_threshold)
        return self._predict_files(_as_paths(paths), threshold, on_error or _log_error, on_scores)

    def resolve_threshold(self, score_threshold: Threshold) -> Resolved:
        """Return a threshold as one number, or one per class; ValueError if it is none."""
        return resolve_thresholds(score_threshold, self.class_names, self.num_classes)

    def _predict_files(
        self,
        paths: Sequence[Path],
        threshold: Resolved,
        on_error: OnError,
        on_scores: OnScores | None,
    ) -> Iterator[Prediction]:
        console = get_console()
        shown = track(paths, "predicting", console=console, disable=not console.is_interactive)
        for chunk in _chunks(_readable(shown, on_error), self.batch_size):
            detections = self._detect([image for _, image in chunk], threshold, on_scores)
            for (path, image), own in zip(chunk, detections, strict=True):
                yield Prediction(path, image, own)

    def _detect(
        self, images: Sequence[Tensor], threshold: Resolved, on_scores: OnScores | None = None
    ) -> list[Detections]:
        detections: list[Detections] = []
        for own, image in zip(self._detect_boxes(images), images, strict=True):
            if on_scores is not None:
                on_scores(own["scores"])
            kept = above_threshold(own["scores"], own["labels"], threshold)
            detections.append(paste(select(own, kept), size_of(image)))
        return detections

    def _detect_boxes(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections in pixels of the images, masks in the grid of their box."""
        if self.tiling is None:
            return self._detect_whole(images)
        return [
            detect_tiled(self._detect_whole, image, self.tiling, batch_size=self.batch_size)
            for image in images
        ]

    def _detect_whole(self, images: Sequence[Tensor]) -> list[Detections]:
        with evaluation_mode(self.model), torch.inference_mode():
            inputs = [self.resize(image) for image in images]
            found = self.model.detect(inputs)
        with torch.no_grad():  # outside of inference mode: callers get ordinary tensors
            return [
                to_original(own, size_of(input), size_of(image))[0]
                for own, input, image in zip(found, inputs, images, strict=True)
            ]


def _class_names_of(
    model: ImageDetector,
    class_names: Iterable[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[str, ...] | None:
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names")
    if isinstance(class_names, Mapping):
        if sorted(class_names) != [*range(len(class_names))]:
            raise ValueError("class_names is a dictionary; give a list of names by label")
        class_names = [class_names[label] for label in range(len(class_names))]
    names = tuple(map(_plain, () if class_names is None else class_names))
    if wrong := [each for each in names if not isinstance(each, str)]:
        raise ValueError(f"class_names holds {wrong[0]!r}; names are texts")
    names = names or tuple(model.info.class_names)
    if names and num_classes is not None and len(names) != num_classes:
        raise ValueError(
            f"class_names has {len(names)} names, but the model has {num_classes} classes"
        )
    return names or None


def _plain(value: Any) -> Any:
    """Return a number or text of NumPy or PyTorch as one of Python."""
    return value.tolist() if hasattr(value, "tolist") else value


def _require_batch_size(batch_size: object) -> int:
    batch_size = _plain(batch_size)
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or int(batch_size) < 1:
        raise ValueError(f"batch_size is {batch_size!r}; give a whole number of images from 1")
    return int(batch_size)


def _as_paths(paths: Iterable[StrPath]) -> list[Path]:
    if isinstance(paths, str | os.PathLike):
        raise ValueError(
            f"paths is '{paths}'; give a list of image files, such as find_images([...])"
        )
    listed = list(paths)
    for each in listed:
        if not isinstance(each, str | os.PathLike):
            raise ValueError(
                f"paths holds a {type(each).__name__}; give image files, and call the predictor "
                "for images of other kinds"
            )
    return [Path(os.fsdecode(each)) for each in listed]


def find_images(sources: Iterable[Path | str]) -> list[Path]:
    """Find image files by path, folder (recursively), glob pattern or URL, each once.

    In folders and patterns, pictures that this package has drawn are left out.
    """
    if isinstance(sources, str | os.PathLike):
        raise ValueError(f"the images are '{sources}'; give a list: ['{sources}']")
    unique: dict[str, Path] = {}
    drawn = 0
    for source in sources:
        found, own = _expand(source)
        if not found:
            raise FileNotFoundError(_describe_nothing(source, own))
        drawn += own
        for path in found:
            unique.setdefault(os.path.abspath(path), path)
    if drawn:
        logger.info("%d pictures that centernet2 has drawn are left out", drawn)
    return list(unique.values())


def _expand(source: Path | str) -> tuple[list[Path], int]:
    """Return the images that a source names, and the number of own pictures left out."""
    path = Path(source)
    if not str(source).strip():  # such as a variable of the shell that is not set
        return [], 0
    if path.is_file() or remote_url(source) is not None:
        return [path], 0
    candidates = (
        path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))
    )
    images = sorted(each for each in candidates if _is_image(each))
    found = [each for each in images if not is_own_picture(each)]
    return found, len(images) - len(found)


def _is_image(path: Path) -> bool:
    # "._" begins the files in which macOS keeps metadata on foreign disks
    return is_image_file(path) and not path.name.startswith("._") and path.is_file()


def _describe_nothing(source: Path | str, drawn: int) -> str:
    path = Path(source)
    if not str(source).strip():
        return "no image found: an empty name is given; is a variable of the shell not set?"
    if drawn:
        reason = f"{drawn} pictures that centernet2 has drawn are left out; name them to use them"
    elif path.is_dir():
        reason = f"the folder has no file that ends in {', '.join(IMAGE_SUFFIXES)}"
    elif irregular_kind(path):
        reason = f"it is {irregular_kind(path)}"
    elif any(mark in str(source) for mark in "*?["):
        reason = "the pattern matches no image file"
    else:
        reason = "there is no such file or folder"
    return f"{printable(source)}: no image found; {reason}"


def _readable(paths: Iterable[Path], on_error: OnError) -> Iterator[tuple[Path, Tensor]]:
    for path in paths:
        try:
            yield path, read_image(path)
        except (ValueError, OSError) as error:
            on_error(path, error)


def _log_error(path: Path, error: Exception) -> None:
    logger.warning("%s", error)  # it names the file


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
