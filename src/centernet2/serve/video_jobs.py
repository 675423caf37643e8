"""Videos: jobs that detect objects in the frames of a film or a camera.

Each job owns its source, a folder and a thread, and all three have an end: the job is over after
the last frame, when it is stopped, or after a stated time, and its results are deleted later.
"""

import asyncio
import json
import logging
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from centernet2.serve.limits import MEGA
from centernet2.serve.refusals import Refused
from centernet2.structures import Pixels

if TYPE_CHECKING:
    from centernet2.predict.image_sources import NamedImage
    from centernet2.predict.prediction import Prediction

LINES, FILM = "detections.jsonl", "film"  # in the folder of a job
AHEAD = 4  # frames of a job that wait for their detections at the same time
logger = logging.getLogger(__name__)
# detections of a frame; it is called in the thread of a job
DetectFrame = Callable[[Pixels], "Future[Prediction]"]


@dataclass(frozen=True)
class VideoOptions:
    """Limits of videos."""

    # addresses of streams by name; clients know the names alone
    cameras: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 500 * MEGA  # of an uploaded film
    max_jobs: int = 2  # at the same time
    max_seconds: float = 3600.0  # that a job may run
    keep_seconds: float = 3600.0  # that its results are kept
    connect_seconds: float = 10.0  # without a frame, after which a camera is given up


@dataclass(eq=False)
class VideoJob:
    """A film or camera and what became of it; only its owner knows the identifier."""

    name: str  # of the source, for messages
    source: str  # path or address
    is_stream: bool
    folder: Path
    class_names: tuple[str, ...]
    draws: bool  # a film with the detections drawn
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = "waiting"  # running, done, failed or stopped
    frames: int = 0
    total: int | None = None  # frames of the source; None: unknown
    error: str | None = None
    started: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def film(self) -> Path | None:
        """The drawn film; None: there is none, or it is not finished."""
        return next(self.folder.glob("drawn/*.mp4"), None)


class VideoJobs:
    """The jobs of a service."""

    def __init__(self, options: VideoOptions) -> None:
        self.options = options
        self._jobs: dict[str, VideoJob] = {}
        self._active: dict[str, asyncio.Future[None]] = {}  # whose thread runs
        self._arriving = 0  # films
        self._threads = ThreadPoolExecutor(options.max_jobs, "video")

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Keep the place of a job while its film arrives, and give it a folder.

        Refused if all places are taken. The folder is deleted if the block fails.
        """
        taken = len(self._active) + self._arriving
        if taken >= self.options.max_jobs:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{taken} of {self.options.max_jobs} places for videos are taken; try again later",
                retry_after=10,
            )
        folder = Path(tempfile.mkdtemp(prefix="centernet2-video-"))
        self._arriving += 1
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._arriving -= 1

    def start(self, job: VideoJob, detect: DetectFrame) -> None:
        """Run a job in a thread, for which there is room; it ends by itself."""
        self._jobs[job.id] = job
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self._threads, _run, job, detect, self.options)
        self._active[job.id] = run
        timer = loop.call_later(self.options.max_seconds, job.stopping.set)

        def over(_: asyncio.Future[None]) -> None:
            timer.cancel()
            del self._active[job.id]
            if job.id in self._jobs:
                loop.call_later(self.options.keep_seconds, self._forget, job)
                with suppress(OSError):  # on Windows, of a file that is open
                    (job.folder / FILM).unlink()  # its results are kept
            else:
                shutil.rmtree(job.folder, ignore_errors=True)

        run.add_done_callback(over)

    def get(self, id: str) -> VideoJob:
        """Return a job by its identifier; Refused if there is none."""
        if id not in self._jobs:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such video; it may be deleted")
        return self._jobs[id]

    def delete(self, job: VideoJob) -> None:
        """Stop a job and delete its results, whatever its source does."""
        job.stopping.set()
        self._forget(job)

    def _forget(self, job: VideoJob) -> None:
        self._jobs.pop(job.id, None)
        if job.id not in self._active:  # else its thread deletes the folder
            shutil.rmtree(job.folder, ignore_errors=True)

    async def stop(self) -> None:
        """Stop all jobs and delete their results."""
        for job in [*self._jobs.values()]:
            self.delete(job)
        await asyncio.gather(*self._active.values())
        self._threads.shutdown()


def _run(job: VideoJob, detect: DetectFrame, options: VideoOptions) -> None:
    """Detect objects in the frames of a source until its end, or until a stop."""
    if job.stopping.is_set():
        return
    job.state = "running"
    try:
        with (job.folder / LINES).open("wb") as lines:
            _write_frames(job, _detected(job, detect, options), lines)
    except Exception as error:
        logger.warning("video %s: %s", job.name, error)
        job.state, job.error = "failed", _for_client(job, error)
        return
    stopped = job.stopping.is_set()
    job.state = "failed" if job.error else "stopped" if stopped else "done"


def _for_client(job: VideoJob, error: Exception) -> str:
    """Return the text of an error in words for clients, who know no paths here."""
    from centernet2.predict.film_writer import ADVICE

    text = re.sub(re.escape(str(job.folder)) + r"[^:\s'\"]*", lambda _: job.name, str(error))
    return text.replace(ADVICE, "ask without draw")


def _detected(job: VideoJob, detect: DetectFrame, options: VideoOptions) -> "Iterator[Prediction]":
    """Yield the predictions of the frames in their order, some of them ahead."""
    from centernet2.images.storage import shown_name
    from centernet2.predict.read_sources import read_sources
    from centernet2.predict.sources import Source, SourceKind

    def failed(path: Path, error: Exception) -> None:
        job.error = str(error).replace(shown_name(job.source), job.name)

    kind = SourceKind.STREAM if job.is_stream else SourceKind.FILM
    frames = read_sources([Source(job.source, kind)], failed, give_up=options.connect_seconds)
    ahead: deque[tuple[NamedImage, Future[Prediction]]] = deque()
    with closing(frames):
        for frame in frames:
            if job.stopping.is_set():
                break
            ahead.append((frame, detect(frame.image)))
            if len(ahead) >= AHEAD:
                yield _with_frame(*ahead.popleft())
    for frame, future in ahead:
        yield _with_frame(frame, future)


def _with_frame(frame: "NamedImage", future: "Future[Prediction]") -> "Prediction":
    return replace(future.result(), path=frame.path, frame=frame.frame, time=frame.time)


def _write_frames(job: VideoJob, predictions: "Iterator[Prediction]", lines: BinaryIO) -> None:
    """Write a line of JSON for each frame, and the drawn film if it is wanted."""
    from centernet2.predict.conversions import records
    from centernet2.predict.output_files import open_outputs

    kinds = ("pictures",) if job.draws else ()
    with open_outputs(job.folder / "drawn", kinds, job.class_names) as outputs:
        for each in predictions:
            record = {"frame": each.frame, "time": each.time, "detections": records(each)}
            lines.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            lines.flush()
            outputs.write(each)
            job.frames += 1
