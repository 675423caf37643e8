"""Run a detector on images, films and streams from anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from centernet2.arguments import checked
from centernet2.images.image_files import TILED_PIXELS
from centernet2.predict.explaining import PointExplanation
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.image_sources import (
    ColorOrder,
    ImageSource,
    ImageSources,
    NamedImage,
    as_image,
    named_image,
    numbered_images,
    several_images,
)
from centernet2.predict.live_streams import GIVE_UP_SECONDS
from centernet2.predict.prediction import PER_IMAGE, Prediction
from centernet2.predict.read_sources import OnError, open_images
from centernet2.predict.tiling import Detect, Tiling, detect_tiled
from centernet2.ranges import at_least
from centernet2.score_thresholds import (
    NO_THRESHOLD,
    Resolved,
    Threshold,
    above_threshold,
    resolve_thresholds,
    to_python,
)
from centernet2.structures import DetectionArrays, ImageDetector, Pixels

if TYPE_CHECKING:
    from centernet2.predict.pytorch_detector import PyTorchDetector, Recording, Resize

logger = logging.getLogger(__name__)

T = TypeVar("T")
OnScores: TypeAlias = Callable[[NDArray[np.float32]], None]
DEFAULT_THRESHOLD = 0.3  # minimum score of detections that commands show
COLUMNS = ("box_masks", "objectness", "class_probability", "embeddings", *PER_IMAGE)  # if there are


class Predictor:
    """Run a detector on images; detections are in pixels of the original images.

    Calls keep no state, so several threads may share a predictor.

    Args:
        model: a detector of PyTorch, whose mode, training or evaluation, stays as it is, or an
            exported one.
        class_names: by label, for drawing and writing detections; default: the model's.
        resize: resizes an image, a tensor [3, H, W], to the input size of the model; default: the
            model's test size. An exported detector resizes images itself.
        batch_size: images, or tiles of an image, per forward pass.
        tiling: detect in tiles of each image, too, which may be a large one of up to TILED_PIXELS;
            None: in the whole image alone.
    """

    @checked(batch_size=at_least(1))
    def __init__(
        self,
        model: ImageDetector | ExportedDetector,
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
        self.resize = resize
        self._detector = _with_arrays(model, resize, tiling)
        self.batch_size = batch_size
        self.tiling = tiling
        self._max_pixels = None if tiling is None else TILED_PIXELS
        # images in memory at once; a batch of tiles is of one image
        self._chunk = batch_size if tiling is None else 1

    @overload
    def __call__(
        self,
        source: ImageSources,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
        record: bool = False,
    ) -> list[Prediction]: ...
    @overload
    def __call__(
        self,
        source: ImageSource,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
        record: bool = False,
    ) -> Prediction: ...

    @checked()
    def __call__(
        self,
        source: ImageSource | ImageSources,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
        record: bool = False,
    ) -> Prediction | list[Prediction]:
        """Return the detections of one image, or a list with those of several images.

        Predictions of a list do not keep the pixels of image files, which would fill the memory.
        For films, folders, cameras and many images there is `stream`.

        Args:
            source: an image in any form of `as_image`; or a list, tuple, set or generator of
                images, or an array or column of paths.
            score_threshold: minimum score of a detection: a number for all classes; a list,
                array or tensor with one for each class, by label; or a mapping from names of
                classes to numbers, which leaves the other classes without a threshold.
            color: order of the channels of arrays and tensors, "rgb" or "bgr" (as of OpenCV).
            record: keep what explains the detections, and the pixels: `Prediction.explain` then
                does not look at the image again. The images are detected one at a time.
        """
        return self._call(source, score_threshold, color, record=record)

    def stream(
        self,
        source: Any,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
        on_error: OnError | None = None,
        on_scores: OnScores | None = None,
        give_up: float = GIVE_UP_SECONDS,
    ) -> Iterator[Prediction]:
        """Yield the detections of images, films and streams, one image at a time.

        Args:
            source: a file, folder, pattern, list of paths, film, address, number of a camera, or
                "-" (see `find_sources`); an image in any form of `as_image`; or several of them.
            score_threshold, color: as for a call.
            on_error: called for each file or address that cannot be read, or whose images have
                another size than an exported detector takes; default: log a warning.
                Images in memory raise their errors.
            on_scores: called for each image with the scores [D] of all its detections, also of
                those below the threshold.
            give_up: seconds without a frame after which a stream is over.
        """
        threshold = self.resolve_threshold(score_threshold)
        report = on_error or _log_error
        images = open_images(source, color, report, give_up, self._max_pixels)
        if isinstance(self._detector, ExportedDetector):
            return self._stream(self._detector.fitting(images), threshold, on_scores)
        return self._stream(images, threshold, on_scores)

    def explain(
        self,
        source: ImageSource,
        x: float,
        y: float,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
    ) -> PointExplanation:
        """Explain why there is a detection at a point of an image, or why there is none.

        Args:
            source: an image in any form of `as_image`.
            x, y: the point, in pixels of the image.
            score_threshold: as for a call; the explanation says which detections reach it.
            color: as for a call.
        """
        threshold = self.resolve_threshold(score_threshold)
        detector, image = self._untiled("an explanation"), as_image(source, color=color)
        _require_inside(image, x, y)
        return self._explanation(detector.record(image)[1], image, x, y, threshold)

    def _explanation(
        self,
        recording: Recording,
        image: Pixels,
        x: float,
        y: float,
        threshold: Resolved = NO_THRESHOLD,
    ) -> PointExplanation:
        _require_inside(image, x, y)
        names = recording.level_names
        record = recording.explain(float(x), float(y))  # numbers of NumPy are not for JSON
        return PointExplanation(image, record, names, self.class_names, threshold)

    def embed(
        self,
        source: ImageSource | ImageSources,
        *,
        score_threshold: Threshold = NO_THRESHOLD,
        color: ColorOrder = "rgb",
    ) -> Prediction | list[Prediction]:
        """Return the detections of a call with their RoI features, as `embeddings`.

        They are the output [D, channels] of the last box head, before it classifies: similar
        objects have similar ones. The arguments are those of a call.
        """
        detector = self._untiled("an embedding")
        if isinstance(detector, ExportedDetector):
            raise ValueError("an embedding needs the checkpoint that the file was exported from")
        if detector.plain("an embedding").roi_heads is None:
            raise ValueError("a one-stage detector has no RoI features; take a two-stage one")
        return self._call(source, score_threshold, color, partial(detector.detect, embed=True))

    def _untiled(self, purpose: str) -> PyTorchDetector | ExportedDetector:
        """Return the detector; ValueError for tiles."""
        if self.tiling is not None:
            raise ValueError(f"{purpose} is of the whole image; load the predictor without tiling")
        return self._detector

    def with_batch_size(self, batch_size: int) -> Predictor:
        """Return a predictor of the same detector with another batch size."""
        return Predictor(
            self.model,
            class_names=self.class_names,
            resize=self.resize,
            batch_size=batch_size,
            tiling=self.tiling,
        )

    def shown_threshold(self, given: Threshold | None) -> Resolved:
        """Return the threshold of shown detections: given, stored, or DEFAULT_THRESHOLD."""
        stored = self.score_thresholds or DEFAULT_THRESHOLD
        return self.resolve_threshold(stored if given is None else given)

    def resolve_threshold(self, score_threshold: Threshold) -> Resolved:
        """Return a threshold as one number, or one per class; ValueError if it is none."""
        return resolve_thresholds(score_threshold, self.class_names, self.num_classes)

    def _call(
        self,
        source: ImageSource | ImageSources,
        score_threshold: Threshold,
        color: ColorOrder,
        detect: Detect | None = None,
        *,
        record: bool = False,
    ) -> Prediction | list[Prediction]:
        predict = self._predict_recorded if record else partial(self._predict, detect=detect)
        threshold = self.resolve_threshold(score_threshold)
        images = several_images(source)
        if images is None:
            image = named_image(source, color=color, max_pixels=self._max_pixels)
            return predict([image], threshold)[0]
        read = numbered_images(images, color=color, max_pixels=self._max_pixels)
        return [
            each if record else each.without_pixels()
            for chunk in _chunks(read, self._chunk)
            for each in predict(chunk, threshold)
        ]

    def _predict_recorded(
        self, images: Sequence[NamedImage], threshold: Resolved
    ) -> list[Prediction]:
        detector = self._untiled("an explanation")
        predictions = []
        for image in images:
            found, recording = detector.record(image.image)
            own = self._to_prediction(found, image, threshold)
            predictions.append(replace(own, explainer=partial(self._explanation, recording)))
        return predictions

    def _stream(
        self, images: Iterable[NamedImage], threshold: Resolved, on_scores: OnScores | None
    ) -> Iterator[Prediction]:
        for chunk in _chunks(images, self._chunk):
            yield from self._predict(chunk, threshold, on_scores)

    def _predict(
        self,
        images: Sequence[NamedImage],
        threshold: Resolved,
        on_scores: OnScores | None = None,
        detect: Detect | None = None,
    ) -> list[Prediction]:
        """Detect objects in images; default for `detect`: in tiles, if there are any."""
        found = (detect or self._detect)([each.image for each in images])
        predictions = []
        for own, image in zip(found, images, strict=True):
            if on_scores is not None:
                on_scores(own["scores"])
            predictions.append(self._to_prediction(own, image, threshold))
        return predictions

    def _detect(self, images: Sequence[Pixels]) -> list[DetectionArrays]:
        """Return detections in pixels of the images, masks in the grid of their box."""
        detect = self._detector.detect
        if self.tiling is None:
            return detect(images)
        return [
            detect_tiled(detect, image, self.tiling, batch_size=self.batch_size) for image in images
        ]

    def _to_prediction(
        self, own: DetectionArrays, image: NamedImage, threshold: Resolved
    ) -> Prediction:
        """Return the detections of an image that reach the threshold."""
        kept = above_threshold(own["scores"], own["labels"], threshold)
        found = {name: own[name] if name in PER_IMAGE else own[name][kept] for name in own}
        return Prediction(
            found["boxes"],
            found["scores"],
            found["labels"],
            image.image.shape[:2],
            class_names=self.class_names or (),
            path=image.path,
            frame=image.frame,
            time=image.time,
            pixels=image.image,
            columns={name: found[name] for name in COLUMNS if name in found},
            missing=self._detector.missing,
            explainer=self.explain,
        )


def _require_inside(image: Pixels, x: float, y: float) -> None:
    height, width = image.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(
            f"the point ({x:g}, {y:g}) is outside of the image of {width} x {height} pixels"
        )


def _with_arrays(
    model: ImageDetector | ExportedDetector, resize: Resize | None, tiling: Tiling | None
) -> PyTorchDetector | ExportedDetector:
    """Return a detector that takes and returns arrays; exported ones need no PyTorch."""
    if isinstance(model, ExportedDetector):
        if resize is not None:
            raise ValueError("resize is given, but an exported file resizes images itself")
        if tiling is not None and model.image_size is not None:
            raise ValueError(
                f"tiles differ in size, but {model.model.path} takes images of one size; export it "
                "without --size"
            )
        return model
    from centernet2.predict.pytorch_detector import PyTorchDetector

    return PyTorchDetector(model, resize)


def _class_names_of(
    model: ImageDetector | ExportedDetector,
    class_names: Iterable[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[str, ...] | None:
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names")
    if isinstance(class_names, Mapping):
        if sorted(class_names) != [*range(len(class_names))]:
            raise ValueError("class_names is a dictionary; give a list of names by label")
        class_names = [class_names[label] for label in range(len(class_names))]
    names = tuple(map(to_python, () if class_names is None else class_names))
    if wrong := [each for each in names if not isinstance(each, str)]:
        raise ValueError(f"class_names holds {wrong[0]!r}; names are texts")
    names = names or tuple(model.info.class_names)
    if names and num_classes is not None and len(names) != num_classes:
        raise ValueError(
            f"class_names has {len(names)} names, but the model has {num_classes} classes"
        )
    return names or None


def _log_error(path: Path, error: Exception) -> None:
    logger.warning("%s", error)  # it names the file


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
