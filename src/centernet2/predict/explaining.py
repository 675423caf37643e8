"""Explanations for people and for programs: as text, as JSON and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from centernet2.score_thresholds import Resolved, above_threshold
from centernet2.structures import Pixels
from centernet2.visualize import class_name, draw

if TYPE_CHECKING:
    from centernet2.models.explain.explanation import (
        Box,
        ClassStep,
        Cut,
        Explanation,
        LocationStep,
        ProposalStep,
    )

SHOWN_CLASSES = 3  # as text, of each stage and of each proposal
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

    def text(self) -> str:
        """Return the explanation as lines of text: of what is shown, and of the best location."""
        x, y = self.record.point
        lines = [f"point ({x:g}, {y:g}): {self.summary()}", "", "heat map at the point:"]
        lines += [self._location(each) for each in self.record.locations]
        for path in self.record.proposals:
            if path.row == self.record.location.proposal or any(map(self.is_shown, path.classes)):
                lines += ["", *self._proposal(path)]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return one sentence on what became of the strongest location at the point."""
        best = self.record.location
        name = self.level_names[best.level]
        start = f"the strongest location is on level {name} (value {best.heat:.3g})"
        if best.cut is not None:
            end = self._cut(best.cut, "proposal")
            if best.proposal is None:
                return f"{start}; {end}"
            start = f"{start}; {end}, which is followed instead"
        (path,) = (each for each in self.record.proposals if each.row == best.proposal)
        chosen = self._chosen(path)
        name, score = self._class_name(chosen.label), chosen.score
        return f"{start}; as class {name} (score {score:.3g}): {self._fate(chosen)}"

    def _location(self, step: LocationStep) -> str:
        kind = f", {self._class_name(step.label)}" if self.record.predicts_classes else ""
        fate = f"proposal {step.proposal}" if step.cut is None else self._cut(step.cut, "proposal")
        rank = f"rank {step.rank} of" if step.rank <= step.num_candidates else "behind all"
        return (
            f"  {self.level_names[step.level]} (stride {step.stride}), column {step.column}, row "
            f"{step.row}, at {_corners(step.point)}{kind}: value {step.heat:.4f}, score "
            f"{step.score:.4f}, {rank} {step.num_candidates} candidates, box "
            f"{_corners(step.box)}: {fate}"
        )

    def _proposal(self, path: ProposalStep) -> list[str]:
        is_best = path.row == self.record.location.proposal
        reason = "of the strongest location" if is_best else "behind a detection here"
        lines = [
            f"proposal {path.row} of {self.record.num_proposals}, {reason}: "
            f"score {path.score:.4f}, box {_corners(path.box)}"
        ]
        for number, stage in enumerate(path.stages):
            p = stage.probabilities
            best = sorted(range(len(p) - 1), key=lambda label: -p[label])[:SHOWN_CLASSES]
            shown = [f"{self._class_name(label)} {p[label]:.3f}" for label in best]
            shown.append(f"background {p[-1]:.3f}")
            lines.append(f"  stage {number}: box {_corners(stage.box)}; {', '.join(shown)}")
        for number, step in enumerate(path.classes):
            if number >= SHOWN_CLASSES and not self.is_shown(step):
                continue  # a weak detection of an improbable class
            lines.append(
                f"  as {self._class_name(step.label)}: probability {step.probability:.4f}, score "
                f"{step.score:.4f}: {self._fate(step)}"
            )
        return lines

    def _fate(self, step: ClassStep) -> str:
        if step.cut is not None:
            return self._cut(step.cut, "detection")
        if not self.is_shown(step):
            return f"detection {step.detection}, below the threshold of those shown"
        return f"detection {step.detection}"

    def _chosen(self, path: ProposalStep) -> ClassStep:
        """Return the class that a proposal is shown as, or else its best one."""
        shown = [step for step in path.classes if self.is_shown(step)]
        return max(shown or path.classes, key=lambda step: step.score)

    def is_shown(self, step: ClassStep) -> bool:
        """Whether a class of a proposal is a detection that reaches the threshold."""
        score, label = np.array([step.score]), np.array([step.label])
        return step.detection is not None and bool(above_threshold(score, label, self.threshold))

    def _cut(self, cut: Cut, kind: str) -> str:
        """Say which rule ended a way; `kind` of record is what a rival may be."""
        value, limit = cut.value, cut.limit
        if cut.by is not None:
            rival = f"{kind} {cut.by.row}" if cut.by.row is not None else f"a box that is no {kind}"
            return (
                f"suppressed by NMS: IoU {value:.3f} exceeds {limit:g} with {rival}, score "
                f"{cut.by.score:.4f}, box {_corners(cut.by.box)}"
            )
        if cut.rule == "score threshold":
            return f"not above the score threshold: {value:.4g}, threshold {limit:g}"
        if cut.rule == "local maximum":
            return f"no local maximum: a neighbor has the value {limit:.4g}"
        if cut.rule == "box inside the image":
            return "its box is empty inside the image"
        return f"not among the {limit:g} {cut.rule}: rank {value:g}"

    def _class_name(self, label: int) -> str:
        return class_name(label, self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as records for JSON, with class and level names."""
        record = asdict(self.record)
        for location in record["locations"]:
            location["level"] = self.level_names[location["level"]]
        steps = [step for path in record["proposals"] for step in path["classes"]]
        places = record["locations"] if self.record.predicts_classes else []
        for each in [*places, *steps, *record["detections"]]:
            each["class"] = self._class_name(each["label"])
        return {"summary": self.summary(), **record}

    def picture(self) -> Pixels:
        """Draw the point, the boxes on the way and what suppressed them."""
        boxes = list(self._boxes())
        names = sorted({name for name, _, _ in boxes})
        steps = {
            "boxes": np.array([box for _, box, _ in boxes]),
            "scores": np.array([score for _, _, score in boxes]),
            "labels": np.array([names.index(name) for name, _, _ in boxes]),
        }
        picture = draw(self.image, steps, names)
        factor = picture.shape[1] / self.image.shape[1]
        return _draw_cross(picture, *(factor * each for each in self.record.point))

    def _boxes(self) -> Iterator[tuple[str, Box, float]]:
        """Yield kind, box and score of the steps from the best location, and of detections."""
        best = self.record.location
        yield "location", best.box, best.score
        cuts = [best.cut]
        for path in self.record.proposals:
            chosen = self._chosen(path)
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


def _corners(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{side:.1f}" for side in box) + "]"


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
