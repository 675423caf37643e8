"""An exported file that abstains: it detects objects of no known class as unknown.

It reads them from the record of the file, as `models/abstention.py` does from a detector's trace.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.box_arrays import box_iou_matrix, distinct_rows
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.runtime.session import Arrays
from centernet2.structures import DetectionArrays, Pixels, ScoreCalibration

if TYPE_CHECKING:
    from centernet2.predict.pytorch_detector import Recording

SAME_OBJECT_IOU = 0.5  # from which two boxes are of one object, as for PyTorch
LEAST = 1e-6  # distance of a probability from 0 and 1, whose logarithms are infinite


class AbstainingFile(ExportedDetector):
    """A detector in a file with a record, which abstains; arguments as in its base.

    Raises:
        ValueError: the file has no record or has masks, or its detector has one stage or was not
            calibrated on known objects.
    """

    def __init__(
        self, path: Path, *, providers: Sequence[str] = (), threads: int | None = None
    ) -> None:
        super().__init__(path, providers=providers, threads=threads)
        _require_both_stages(self.model.metadata, path)
        if self.info.calibration is None or self.info.calibration.unknown_from is None:
            raise ValueError(
                f"{path} does not say from when an object is of none of the classes; `centernet2 "
                "threshold` on its checkpoint, with validation data, and export that again"
            )
        self.info, self.calibration = self.info.abstaining(self.num_classes)
        self.num_classes += 1

    def record(self, image: Pixels) -> "tuple[DetectionArrays, Recording]":
        """Raise ValueError: an explanation is of the detector that does not abstain."""
        raise ValueError(
            "an explanation is of a detector alone; load the predictor without abstention"
        )

    def _detections(self, outputs: Arrays, count: int, size: tuple[int, int]) -> list[Arrays]:
        """Return detections of each image: unknown objects, and known ones elsewhere."""
        known = super()._detections(outputs, count, size)
        return [_join(own, self._unknown(outputs, i, size)) for i, own in enumerate(known)]

    def _unknown(self, outputs: Arrays, i: int, size: tuple[int, int]) -> Arrays:
        """Return the unknown objects of image i, each with the box of its best proposal."""
        rows = slice(int(outputs["proposal_count"][i]))
        stages = [name for name in outputs if name.endswith("_probabilities")]
        p = np.mean([outputs[name][i, rows] for name in stages], axis=0)[:, :-1]  # [R, C]
        novelty = -(p * np.log(p.clip(LEAST))).sum(axis=1)
        boxes = outputs[f"stage{len(stages) - 1}_boxes"][i, rows]  # [R, 1 or C, 4]
        boxes = boxes[np.arange(len(p)), p.argmax(axis=1) if boxes.shape[1] > 1 else 0]
        boxes = boxes.clip(0, [*size[::-1], *size[::-1]])
        usable = np.isfinite(boxes).all(axis=1) & np.isfinite(novelty)
        kept = np.flatnonzero(usable & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        kept = kept[distinct_rows(boxes[kept].astype(np.float64), SAME_OBJECT_IOU)]
        objectness = _objectness(self.calibration, outputs["proposal_scores"][i, rows])
        kept = kept[self.calibration.are_unknown(novelty, objectness)[kept]]
        return {
            "boxes": boxes[kept],
            "scores": objectness[kept],
            "labels": np.full(len(kept), self.num_classes - 1),
            "object_scores": objectness[kept],
            "class_scores": np.ones_like(objectness[kept]),
        }


def _require_both_stages(metadata: Mapping[str, object], path: Path) -> None:
    if metadata.get("masks"):
        raise ValueError(
            f"{path} has no masks of unknown objects, so it cannot abstain; use the checkpoint"
        )
    rules = metadata.get("rules")
    if not isinstance(rules, Mapping):
        raise ValueError(
            f"{path} returns its detections alone, so it cannot abstain; export it with --record"
        )
    if rules.get("selection") is None:
        raise ValueError(f"{path} is of a one-stage detector, which cannot abstain")


def _objectness(calibration: ScoreCalibration, scores: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probability that there is an object, of the scores of proposals."""
    p = scores.clip(LEAST, 1 - LEAST)
    logit = np.log(p / (1 - p)) / calibration.object_temperature + calibration.object_offset
    objectness: NDArray[np.float32] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return objectness


def _join(known: Arrays, unknown: Arrays) -> Arrays:
    """Join unknown objects with the known detections away from them, best first."""
    boxes = (each["boxes"].astype(np.float64) for each in (known, unknown))
    away = ~(box_iou_matrix(*boxes) >= SAME_OBJECT_IOU).any(axis=1)
    joined = {name: np.concatenate([known[name][away], unknown[name]]) for name in unknown}
    order = (-joined["scores"]).argsort(kind="stable")
    return {name: column[order] for name, column in joined.items()}
