"""Options of the command `predict` in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from centernet2.option_groups import DETECTIONS, DEVICE, FILMS, Flag

if TYPE_CHECKING:
    WordsArgument: TypeAlias = Sequence[str] | str
else:  # a type to which cyclopts converts
    WordsArgument = list[str]

ENGINES = ("ray",)


@Parameter(name="*", group=DETECTIONS)
@dataclass(frozen=True)
class DetectionOptions:
    """Which detections are kept, how fast they are made, and where.

    Parameters
    ----------
    classes
        Names of the classes to keep, such as cat,dog; default: all.
    abstain
        Detect what is certainly an object, but like none of the classes, as "unknown", in place of
        a class; `centernet2 threshold` has stored from when it is.
    max_detections
        Number of detections to keep in each image, those with the highest scores.
    batch_size
        Images, or tiles of an image, per forward pass.
    threads
        Threads of the CPU; default: one for each core, in long runs fewer while other programs use
        them; and 1 for each worker of an engine.
    engine
        ray: detect in images on all machines of a Ray cluster, and write Parquet files, which the
        same command continues after it was stopped (docs/scale.md). Default: this process.
    """

    classes: Annotated[WordsArgument, Parameter(negative=())] = ()
    abstain: Flag = False
    max_detections: int | None = None
    batch_size: Annotated[int, Parameter(group=DEVICE)] = 1
    threads: Annotated[int | None, Parameter(group=DEVICE)] = None
    engine: Annotated[str | None, Parameter(group=DEVICE)] = None


@Parameter(name="*", group=FILMS)
@dataclass(frozen=True)
class FilmOptions:
    """What is done with films and streams besides detection.

    Parameters
    ----------
    track
        Follow objects from frame to frame: each gets a number.
    count_line
        Count tracked objects that cross a line: x,y,x,y in pixels.
    count_zone
        Count tracked objects that enter a polygon: x,y,x,y,x,y,... in pixels.
    stream_timeout
        Seconds without a frame after which a camera or stream is over.
    """

    track: Flag = False
    count_line: str | None = None
    count_zone: str | None = None
    stream_timeout: float = 30.0
