"""Check the images of a split: existence and size of all, decoding of a sample.

`centernet2 check` and `centernet2 train` make their findings here. A training run reads headers
alone, so that it starts soon; `check` decodes every image.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from centernet2 import distributed
from centernet2.data.dataset import DetectionDataset
from centernet2.data.findings import Action, Finding, FindingLog, ProblemExample
from centernet2.files import irregular_kind, printable
from centernet2.images.heif import open_image
from centernet2.images.image_files import (
    ImageError,
    image_size,
    orientation_of,
    read_image,
    upright_size,
)
from centernet2.images.storage import MEMBER, remote_url
from centernet2.progress import with_progress
from centernet2.structures import BoolArray, Pixels

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

MISSING_FILE = "missing"  # problem of a file that does not exist
MAX_UNUSABLE = {"train": 0.05, "val": 0.5}  # share of a split above which it is refused
DECODED_IMAGES = 100  # of a split, before the first step
PLAIN_MODES = ("RGB", "L")  # 8 bits, which need no conversion
NO_RANGE_MODE = "F"  # floating-point pixels, which the decoder refuses
HEADER_SECONDS = {"train": 60.0, "val": math.inf}  # a slow disk does not delay the first step
THREADS = 16  # more than processors: a network disk answers slowly
IMAGES_PER_TASK = 32
SHOWN_IMAGES = 2000  # fewer are checked before a bar could be read


class ImageFacts(NamedTuple):
    """Properties of one image file that are checked."""

    problem: str  # why it cannot be used; empty if it can
    size: tuple[int, int] = (0, 0)  # height, width, upright
    is_rotated: bool = False  # by its EXIF orientation
    mode: str = "RGB"
    thumbnail: NDArray[np.float32] | None = None  # [8, 9] gray
    darkness: str = ""  # that the range of its pixels is likely to be another one


class CheckedImage(NamedTuple):
    """An image of a split: its name, its annotated height and width, its file."""

    name: str
    size: tuple[float, float]
    facts: ImageFacts

    @property
    def has_other_size(self) -> bool:
        """Whether the file can be read, but has another size than annotated."""
        return not self.facts.problem and self.facts.size != self.size

    @property
    def sizes(self) -> str:
        """Width and height of the file, and as annotated."""
        (height, width), (annotated_height, annotated_width) = self.facts.size, self.size
        return f"{width} x {height}, annotated as {annotated_width:g} x {annotated_height:g}"

    @property
    def why_unusable(self) -> str:
        """Why the file cannot be used; empty if it can."""
        return f"it is {self.sizes}" if self.has_other_size else self.facts.problem

    @property
    def is_unusable(self) -> bool:
        return bool(self.why_unusable)

    @property
    def is_notable(self) -> bool:
        """Whether a finding names it."""
        facts = self.facts
        is_other = facts.is_rotated or facts.mode not in PLAIN_MODES or facts.darkness != ""
        return self.is_unusable or is_other


class SplitImages(NamedTuple):
    """The images of a split that a training run has checked."""

    notable: dict[int, CheckedImage]  # by index
    headers: int  # that were read
    decoded: int
    undecodable: int  # of these, whose header was in order

    @property
    def unusable(self) -> list[int]:
        """Indices of the images that cannot be used."""
        return [index for index, image in self.notable.items() if image.is_unusable]


def checked_image(dataset: DetectionDataset, index: int, facts: ImageFacts) -> CheckedImage:
    """Join an image of a data set and the facts of its file."""
    return CheckedImage(dataset.file_name(index), dataset.size(index), facts)


def header_facts(path: Path) -> ImageFacts:
    """Read the header of an image file; one that does not tell its size is decoded."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ImageFacts(MISSING_FILE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return ImageFacts(
            f"{printable(path)}: the image cannot be opened ({reason}); check the path"
        )
    kind = irregular_kind(path)
    if kind:
        return ImageFacts(f"{printable(path)}: the image is {kind}; replace it or leave it out")
    try:
        with open_image(path) as file:
            facts = ImageFacts("", upright_size(file), orientation_of(file) > 1, file.mode)
    except Exception:  # each format raises its own; the decoder says what is wrong
        return decoded_facts(path, ImageFacts(""))
    return decoded_facts(path, facts) if facts.mode == NO_RANGE_MODE else facts


def decoded_facts(
    path: Path, header: ImageFacts, thumbnail: Callable[[Pixels], NDArray[np.float32]] | None = None
) -> ImageFacts:
    """Decode an image as training does; the rest of its facts is that of the header."""
    notices: list[str] = []
    try:
        pixels = read_image(path, notice=notices.append)
    except ImageError as error:
        return ImageFacts(str(error))
    small = None if thumbnail is None else thumbnail(pixels)
    return header._replace(size=pixels.shape[:2], thumbnail=small, darkness="".join(notices))


def image_findings(
    split: str, images: Sequence[CheckedImage], total: int, *, undecodable: tuple[int, int] = (0, 0)
) -> list[Finding]:
    """Make the findings of the image files of a split.

    Args:
        images: those that are notable, or all.
        total: number of images of the split.
        undecodable: how many images of a sample cannot be decoded, and the size of the sample.
    """
    unusable = sum(image.is_unusable for image in images)
    evaluated = split in ("val", "test")
    share = MAX_UNUSABLE["val" if evaluated else "train"]
    refused = unusable > share * total or undecodable[0] > share * undecodable[1]
    action: Action = "refuses" if refused else "drops"
    advice = (
        "evaluations and their metrics leave them out; more than half of the images are refused"
        if evaluated
        else f"another image is taken in its place; more than {share:.0%} of the images are refused"
    )
    log = FindingLog(split)
    log.add(
        "missing images", action, advice,
        [image for image in images if image.facts.problem == MISSING_FILE],
        lambda image: ProblemExample(image.name),
    )  # fmt: skip
    log.add(
        "unreadable images", action, advice,
        [image for image in images if image.facts.problem not in ("", MISSING_FILE)],
        lambda image: ProblemExample(image.facts.problem, image.name),
    )  # fmt: skip
    log.add(
        "images of another size than annotated", action, advice,
        [image for image in images if image.has_other_size],
        lambda image: ProblemExample(f"{image.name}: {image.sizes}", image.name),
    )  # fmt: skip
    log.add(
        "images rotated by EXIF", "repairs", "they are rotated upright, and boxes must match",
        [image for image in images if image.facts.is_rotated],
        lambda image: ProblemExample(image.name, image.name),
    )  # fmt: skip
    log.add(
        "images of 16 bits that are nearly black", "keeps", "they are read as they are",
        [image for image in images if image.facts.darkness],
        lambda image: ProblemExample(image.facts.darkness, image.name),
    )  # fmt: skip
    log.add(
        "images that are not 8-bit grayscale or RGB", "note", "they are converted",
        [image for image in images if image.facts.mode not in PLAIN_MODES],
        lambda image: ProblemExample(f"{image.name}: {image.facts.mode}"),
    )  # fmt: skip
    return log.findings


def check_before_training(dataset: DetectionDataset, split: str) -> BoolArray:  # [I]
    """Check the image files of a split; say which cannot be used, and log them.

    Each process checks its share, and all of them get the result of all images.

    Raises:
        ValueError: too many images cannot be used.
    """
    start = time.monotonic()
    images = _check_split(dataset, seconds=HEADER_SECONDS[split])
    findings = image_findings(
        split,
        [image for _, image in sorted(images.notable.items())],
        images.headers or images.decoded,
        undecodable=(images.undecodable, images.decoded),
    )
    logger.info(
        "%s: checked %d of %d images by their headers and %d by decoding them, in %.1f s%s",
        dataset.name,
        images.headers,
        len(dataset),
        images.decoded,
        time.monotonic() - start,
        "; the others are checked when they are read" if images.headers < len(dataset) else "",
    )
    _act_on(findings, dataset.name)
    unusable = np.zeros(len(dataset), dtype=bool)
    unusable[images.unusable] = True
    return unusable


def _act_on(findings: Sequence[Finding], name: str) -> None:
    """Log what training does about findings; raise ValueError if it refuses."""
    refused = [each for each in findings if each.action == "refuses"]
    if refused:
        kinds = "; ".join(f"{each.total} {each.kind}{_such_as(each)}" for each in refused)
        raise ValueError(
            f"{name}: {kinds}: too many to go on ({refused[0].advice}); repair the data set, "
            "'centernet2 check' lists all and --fix writes annotations without them"
        )
    for each in findings:
        if each.action in ("drops", "repairs", "keeps"):
            words = (name, each.total, each.kind, each.advice, _such_as(each))
            logger.warning("%s: %d %s: %s%s", *words)


def _such_as(finding: Finding) -> str:
    return f" (such as {' | '.join(example.text for example in finding.examples)})"


def _check_split(dataset: DetectionDataset, *, seconds: float) -> SplitImages:
    """Read the headers of this process's share for some seconds, and decode a sample."""
    rank, processes = distributed.rank(), distributed.world_size()
    end = time.monotonic() + seconds
    count, notable = 0, dict[int, CheckedImage]()
    own = range(rank, len(dataset), processes)
    work = partial(_check_header, dataset)
    with closing(in_threads(work, own, f"headers of {dataset.name}")) as read:
        for index, image in zip(own, read, strict=True):
            count += image is not None
            if image is not None and image.is_notable:
                notable[index] = image
            if time.monotonic() > end:
                break
    notable = _joined(notable)
    spread = np.linspace(0, len(dataset) - 1, min(DECODED_IMAGES, len(dataset))).astype(int)
    sample = [i for i in spread.tolist() if i not in notable or not notable[i].is_unusable]
    own_sample = sample[rank::processes]
    decoded = in_threads(partial(_check_decoded, dataset, notable), own_sample, "a sample")
    found = _joined(
        {
            i: image
            for i, image in zip(own_sample, decoded, strict=True)
            if image.is_unusable or image.facts.darkness
        }
    )
    undecodable = sum(image.is_unusable for image in found.values())
    headers = sum(distributed.gather_objects(count))
    return SplitImages({**notable, **found}, headers, len(sample), undecodable)


def _joined(own: Mapping[int, CheckedImage]) -> dict[int, CheckedImage]:
    """Join what all processes have found."""
    return {i: each for part in distributed.gather_objects(dict(own)) for i, each in part.items()}


def _check_header(dataset: DetectionDataset, index: int) -> CheckedImage | None:
    """Check an image by its header; None: it is in a shard or at a URL."""
    path = dataset.image_path(index)
    if remote_url(path) is not None or MEMBER.fullmatch(str(path)):
        return None
    return checked_image(dataset, index, header_facts(path))


def _check_decoded(
    dataset: DetectionDataset, notable: Mapping[int, CheckedImage], index: int
) -> CheckedImage:
    header = notable[index].facts if index in notable else ImageFacts("")
    return checked_image(dataset, index, decoded_facts(dataset.image_path(index), header))


def read_sizes(paths: Sequence[Path], what: str) -> Iterator[tuple[int, int] | ImageError]:
    """Yield height and width of each image, upright, from its header, or the error."""

    def read(path: Path) -> tuple[int, int] | ImageError:
        try:
            return image_size(path)
        except ImageError as error:
            return error

    return in_threads(read, paths, what)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], what: str
) -> Generator[Result]:
    """Yield `work` of each item in order, computed in threads, with a progress bar.

    Close it to end the threads before the last item.
    """
    starts = range(0, len(items), IMAGES_PER_TASK)
    tasks = (items[start : start + IMAGES_PER_TASK] for start in starts)
    pool = ThreadPoolExecutor(THREADS)
    try:
        done = pool.map(lambda task: [work(item) for item in task], tasks)
        is_shown = distributed.is_main_process() and len(items) >= SHOWN_IMAGES
        verbs = (f"reading {what}", f"{what}:")
        tasks_done = with_progress(done, verbs, total=len(items), images_in=len, is_shown=is_shown)
        yield from chain.from_iterable(tasks_done)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption does not wait for the rest
