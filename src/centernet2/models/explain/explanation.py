"""Records of an explanation, from the heat map at a point to detections.

Boxes and points are in pixels of the image that was asked about.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
Rule: TypeAlias = Literal[
    "local maximum",  # a neighboring location has a higher value
    "score threshold",
    "candidates per level",
    "NMS",
    "proposals per image",
    "box inside the image",
    "candidates for detections",  # with static shapes
    "detections per image",
]


@dataclass(frozen=True)
class Rival:
    """The better box that suppressed a candidate."""

    box: Box
    score: float
    row: int | None  # of the proposal or detection; None: a limit cut it off


@dataclass(frozen=True)
class Cut:
    """The rule that ended the way of a candidate."""

    rule: Rule
    value: float  # that the rule compares: a score, an IoU, or a rank from 1
    limit: float  # a threshold, or a maximum number
    by: Rival | None = None  # of NMS


@dataclass(frozen=True)
class LocationStep:
    """First-stage predictions at the location of a level nearest to the point."""

    level: int
    stride: int
    column: int
    row: int
    point: tuple[float, float]  # of the location
    heat: float  # value of the heat map
    label: int  # the best class there; 0 if the heat map is not of classes
    score: float
    box: Box
    rank: int  # among the candidates of all levels, from 1
    num_candidates: int
    cut: Cut | None
    proposal: int | None  # row of its proposal, or of the proposal that suppressed it


@dataclass(frozen=True)
class StageStep:
    """What one stage of the cascade makes of a proposal."""

    roi: Box  # the box that features are pooled from
    box: Box  # refined; of the best class, if each class has its own
    probabilities: tuple[float, ...]  # [C + 1], background last


@dataclass(frozen=True)
class ClassStep:
    """What becomes of a proposal as an object of one class."""

    label: int
    probability: float  # mean of the stages; without stages that of the first stage
    score: float
    box: Box
    cut: Cut | None
    detection: int | None  # row of its detection


@dataclass(frozen=True)
class ProposalStep:
    """A proposal on its way through the second stage."""

    row: int
    score: float
    box: Box
    stages: tuple[StageStep, ...]  # none in a one-stage detector
    classes: tuple[ClassStep, ...]  # the most probable ones


@dataclass(frozen=True)
class FoundObject:
    """A detection of the image."""

    label: int
    score: float
    box: Box


@dataclass(frozen=True)
class Explanation:
    """The way from the heat map at a point to detections or the rule that ended it.

    Boxes and points are in pixels of the image that was asked about.
    """

    point: tuple[float, float]
    locations: tuple[LocationStep, ...]  # one per level, finest first
    best: int  # the level whose location has the highest score
    predicts_classes: bool  # whether the heat map is of classes
    num_proposals: int
    proposals: tuple[ProposalStep, ...]  # of the best location, then those behind detections there
    detections: tuple[FoundObject, ...]  # all of the image, best first

    @property
    def location(self) -> LocationStep:
        """The location with the highest score at the point."""
        return self.locations[self.best]
