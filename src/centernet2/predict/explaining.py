"""Explanations for programs and people: as JSON, as a picture and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from centernet2.predict.explanation_sentences import Sentences
from centernet2.score_thresholds import Resolved, above_threshold
from centernet2.structures import Pixels
from centernet2.visualize import class_name, draw

if TYPE_CHECKING:
    from PIL import Image

    from centernet2.models.explain.explanation import Box, ClassStep, Explanation, ProposalStep

CROSS = 0.02  # arm of the cross at the point, as a fraction of the picture's longer side


@dataclass(frozen=True)
class PointExplanation:
    """Why there is a detection at a point of an image, or why there is none.

    Args:
        image: the image that was asked about.
        record: what the detector computed.
        level_names: of the feature pyramid, finest first.
        class_names: by label; None: unknown.
        threshold: score from which detections are shown.
    """

    image: Pixels
    record: Explanation
    level_names: Sequence[str]
    class_names: Sequence[str] | None
    threshold: Resolved

    def __str__(self) -> str:
        return self.text()

    def text(self, language: str = "en") -> str:
        """Return the explanation as lines: what is shown, then the best location.

        Args:
            language: en or zh.
        """
        return Sentences(self, language).text()

    def summary(self, language: str = "en") -> str:
        """Return one sentence on what became of the strongest location at the point."""
        return Sentences(self, language).summary()

    def chosen(self, path: ProposalStep) -> ClassStep:
        """Return the class that a proposal is shown as, or else its best one."""
        shown = [step for step in path.classes if self.is_shown(step)]
        return max(shown or path.classes, key=lambda step: step.score)

    def is_shown(self, step: ClassStep) -> bool:
        """Whether a class of a proposal is a detection that reaches the threshold."""
        return step.detection is not None and self.reaches(step.score, step.label)

    def reaches(self, score: float, label: int) -> bool:
        """Whether a detection of a class with this score is shown."""
        return bool(above_threshold(np.array([score]), np.array([label]), self.threshold))

    def class_name(self, label: int) -> str:
        return class_name(label, self.class_names)

    def to_dict(self, language: str = "en") -> dict[str, Any]:
        """Return the explanation as records for JSON, with class and level names.

        Args:
            language: of the summary.
        """
        record = asdict(self.record)
        for location in record["locations"]:
            location["level"] = self.level_names[location["level"]]
        steps = [step for path in record["proposals"] for step in path["classes"]]
        places = record["locations"] if self.record.predicts_classes else []
        for each in [*places, *steps, *record["detections"]]:
            each["class"] = self.class_name(each["label"])
        return {"summary": self.summary(language), **record}

    def picture(self) -> Image.Image:
        """Draw the point, the boxes on the way and what suppressed them."""
        from PIL import Image

        boxes = list(self._boxes())
        names = sorted({name for name, _, _ in boxes})
        steps = {
            "boxes": np.array([box for _, box, _ in boxes]),
            "scores": np.array([score for _, _, score in boxes]),
            "labels": np.array([names.index(name) for name, _, _ in boxes]),
        }
        picture = draw(self.image, steps, names)
        factor = picture.shape[1] / self.image.shape[1]
        point = (factor * each for each in self.record.point)
        return Image.fromarray(_draw_cross(picture, *point))

    def _boxes(self) -> Iterator[tuple[str, Box, float]]:
        """Yield kind, box and score of the best location's steps, and of detections."""
        best = self.record.location
        yield "location", best.box, best.score
        cuts = [best.cut]
        for path in self.record.proposals:
            chosen = self.chosen(path)
            if path.row == best.proposal:
                yield "proposal", path.box, path.score
                for number, stage in enumerate(path.stages):
                    yield f"stage {number}", stage.box, stage.probabilities[chosen.label]
                cuts.append(chosen.cut)
            if self.is_shown(chosen):
                yield "detection", chosen.box, chosen.score
        for cut in cuts:
            if cut and cut.by:
                yield "suppressed by", cut.by.box, cut.by.score


def _draw_cross(picture: Pixels, x: float, y: float) -> Pixels:
    """Mark a point by a white cross with a dark border."""
    height, width = picture.shape[:2]
    arm = max(4, round(CROSS * max(height, width)))
    column, row = min(math.floor(x), width - 1), min(math.floor(y), height - 1)
    for border, color in ((2, 0), (1, 255)):
        thick = max(1, arm // 8) * border
        reach = arm + border
        for dx, dy in ((reach, thick), (thick, reach)):
            rows = slice(max(0, row - dy), row + dy + 1)
            picture[rows, max(0, column - dx) : column + dx + 1] = color
    return picture
