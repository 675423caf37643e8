"""An exported file in place of a detector of PyTorch, which it does not need."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from centernet2.predict import prediction
from centernet2.runtime.exported_model import ExportedModel
from centernet2.runtime.session import Arrays
from centernet2.structures import DetectionArrays, ModelInfo, Pixels, ScoreCalibration

if TYPE_CHECKING:
    from centernet2.predict.image_sources import NamedImage
    from centernet2.predict.pytorch_detector import Recording
    from centernet2.predict.read_sources import NamedImages

MISSING: Mapping[str, str] = {
    **prediction.MISSING,
    "proposals": "the file returns its detections alone; export it with --record",
    "objectness": "a two-stage detector has it, without tiles, except in model-api files",
    "class_probability": "a two-stage detector has it, without tiles, except in model-api files",
    "embeddings": "an exported file computes none; use the checkpoint",
}
# of outputs whose columns have other names here
COLUMNS = {"masks": "box_masks", "object_scores": "objectness", "class_scores": "class_probability"}


class ExportedDetector:
    """A detector in a file, which resizes images itself.

    Args:
        path: of the file.
        providers, threads: see `ExportedModel`.
    """

    missing = MISSING

    def __init__(
        self, path: Path, *, providers: Sequence[str] = (), threads: int | None = None
    ) -> None:
        self.model = ExportedModel(path, providers=providers, threads=threads)
        count, _, height, width = self.model.input_shape
        self.batch_size = count if isinstance(count, int) else None  # None: any
        is_fixed = isinstance(height, int) and isinstance(width, int)
        self.image_size = (int(height), int(width)) if is_fixed else None  # None: any
        metadata = self.model.metadata
        self.has_record = bool(metadata.get("rules"))
        self.num_classes: int = metadata["num_classes"]
        self.info = ModelInfo(
            class_names=tuple(metadata["class_names"]),
            score_thresholds=tuple(metadata["score_thresholds"]),
            calibration=calibration_of(self.model),
            config_name=metadata["config"],
        )

    def fitting(self, images: "NamedImages") -> "Iterator[NamedImage]":
        """Yield images of the size that the file takes; end other sources with an error.

        Images in memory are left to `detect`, which raises an error.
        """
        each = next(images, None)
        while each is not None:
            size = each.image.shape[:2]
            if each.path is None or self.image_size in (None, size):
                yield each
                each = next(images, None)
                continue
            try:  # a stream would never end
                each = images.throw(ValueError(f"{each.path}: {self._unfit(size)}"))
            except StopIteration:
                return

    def _unfit(self, size: Sequence[int]) -> str:
        height, width = self.image_size or size
        return (
            f"its size is {size[0]}x{size[1]} (height x width), but {self.model.path} takes images "
            f"of {height}x{width} alone; resize the image, or export without --size"
        )

    def detect(self, images: Sequence[Pixels]) -> list[DetectionArrays]:
        """Return detections in pixels of the images, masks in the grid of their box."""
        found: list[DetectionArrays] = []
        for batch in self._batches(images):
            missing = (self.batch_size or len(batch)) - len(batch)
            pixels = np.stack([*batch, *[batch[-1]] * missing]).transpose(0, 3, 1, 2)
            outputs, size = self.model.run(pixels), batch[0].shape[:2]
            rows = self._detections(outputs, len(pixels), size)[: len(batch)]
            found += [_in_image(own, size) for own in rows]
        return found

    def _detections(self, outputs: Arrays, count: int, size: tuple[int, int]) -> list[Arrays]:
        """Return the detections of each of `count` images, by the file's output names."""
        return self.model.split(outputs, count)

    def record(self, image: Pixels) -> "tuple[DetectionArrays, Recording]":
        """Return the detections of an image, and by PyTorch what explains them.

        Raises:
            ValueError: the file has no record.
        """
        from centernet2.predict.recorded import read_record

        found, recording = read_record(self.model, image)
        return _in_image(found, image.shape[:2]), recording

    def _batches(self, images: Sequence[Pixels]) -> Iterator[list[Pixels]]:
        """Yield successive images of one size, as many at once as the file takes."""
        batch: list[Pixels] = []
        for image in images:
            if batch and (image.shape != batch[0].shape or len(batch) == self.batch_size):
                yield batch
                batch = []
            batch.append(image)
        if batch:
            yield batch


def calibration_of(model: ExportedModel) -> ScoreCalibration | None:
    """Return the calibration of the scores in a file; None: there is none."""
    fields = model.metadata.get("calibration")
    if fields is None:
        return None
    try:
        lists = {name: tuple(fields[name]) for name in ("temperatures", "offsets")}
        if fields.get("unknown_from") is not None:
            lists["unknown_from"] = tuple(fields["unknown_from"])
        return ScoreCalibration(**{**fields, **lists})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the calibration in the metadata of {model.path} was changed; export it again"
        ) from error


def _in_image(own: Arrays, size: tuple[int, int]) -> DetectionArrays:
    """Return the detections of an image by our names, clipped to it."""
    found = {COLUMNS.get(name, name): column for name, column in own.items()}
    boxes = [name for name in ("boxes", *prediction.PER_IMAGE) if name in found]
    found |= {name: np.clip(found[name], 0, [*size[::-1], *size[::-1]]) for name in boxes}
    inside = (found["boxes"][:, 2:] > found["boxes"][:, :2]).all(axis=1)
    return {
        name: column if name in prediction.PER_IMAGE else column[inside]
        for name, column in found.items()
    }
