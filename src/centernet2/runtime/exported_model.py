"""An exported file as a function of images."""

import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centernet2.runtime.onnx_session import OnnxSession
from centernet2.runtime.openvino_session import OpenVinoSession
from centernet2.runtime.session import METADATA_KEY, Arrays, Session
from centernet2.runtime.torch_session import TorchSession

SESSIONS: Mapping[str, Callable[..., Session]] = {  # by suffix
    ".onnx": OnnxSession, ".xml": OpenVinoSession, ".pt2": TorchSession
}  # fmt: skip
EXPORTED_SUFFIXES = tuple(SESSIONS)
NEEDED_KEYS: Mapping[str, type] = {  # of the metadata, and the type of each value
    "input_shape": list,
    "class_names": list,
    "num_classes": int,
    "score_thresholds": list,
    "test_size": dict,
    "config": str,
}
IMAGE_DIMENSIONS = 4  # of a batch: number, channels, height, width
BOX_SIDES = 4
# outputs with a row for each detection; of the others, a file has those that its detector computes
NEEDED_OUTPUTS = ("boxes", "scores", "labels")
DETECTION_OUTPUTS = (*NEEDED_OUTPUTS, "object_scores", "class_scores", "masks")


class ExportedModel:
    """A detector in an exported file.

    Args:
        providers: execution providers of ONNX Runtime, the preferred one first, or one device of
            OpenVINO or PyTorch; None: the CPU.
        threads: of the CPU for a call; None: OMP_NUM_THREADS, and without it the runtime chooses.

    Raises:
        ValueError: the file or the runtime cannot be used.
    """

    def __init__(
        self, path: Path, *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> None:
        self.path = path
        require_exported(path)
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; it takes a whole number from 1, or None")
        threads = threads or _threads_of_environment()
        self.session = SESSIONS[path.suffix](path, providers or (), threads=threads)
        self.metadata = _read_metadata(self.session.metadata, path)
        # of a batch of images, with a name for each dimension that is not fixed
        self.input_shape: Sequence[int | str] = self.metadata["input_shape"]

    def run(self, images: NDArray[np.uint8]) -> Arrays:
        """Return all outputs of the file for RGB images [N, 3, H, W] of one size."""
        shape = self.input_shape
        fits = images.ndim == len(shape) and all(
            isinstance(own, str) or own == given
            for own, given in zip(shape, images.shape, strict=True)
        )
        if images.dtype != np.uint8 or not fits:
            raise ValueError(
                f"{self.path.name} takes uint8 images [{', '.join(map(str, shape))}], not "
                f"{images.dtype} {list(images.shape)}; export without --size and --batch makes a "
                "file for any"
            )
        return self.session.run(np.ascontiguousarray(images))  # not all take the array of a view

    def detect(self, images: NDArray[np.uint8]) -> list[Arrays]:
        """Return the detections of each image of a batch, best first, boxes in its pixels."""
        return self.split(self.run(images), len(images))

    def split(self, outputs: Arrays, count: int) -> list[Arrays]:
        """Return the detections of each of `count` images, of all outputs of a file."""
        try:
            return split_images(outputs, count)
        except KeyError as error:
            raise ValueError(
                f"{self.path} has no output {error}, so it was changed after its export; export it "
                "again"
            ) from error


def _read_metadata(text: str | None, path: Path) -> Mapping[str, Any]:
    try:
        metadata: Mapping[str, Any] = json.loads(text or "")
        unfit = [key for key, own in NEEDED_KEYS.items() if not isinstance(metadata.get(key), own)]
        if not unfit and len(metadata["input_shape"]) != IMAGE_DIMENSIONS:
            unfit = ["input_shape"]
    except (ValueError, AttributeError):  # no JSON, or no object
        unfit = [METADATA_KEY]
    if unfit:
        raise ValueError(
            f"{path} was not written by `centernet2 export` of this release (the {unfit[0]} of its "
            "metadata is missing or changed); export it again"
        )
    return metadata


def parts_of(path: Path) -> list[Path]:
    """Return the files that an exported file consists of, itself last."""
    return [path.with_suffix(".bin"), path] if path.suffix == ".xml" else [path]


def require_exported(path: Path) -> None:
    """Raise an error if a path is no exported file, or if a part of it is missing."""
    if path.suffix not in EXPORTED_SUFFIXES:
        raise ValueError(
            f"{path} is no exported file; give one that ends in {', '.join(EXPORTED_SUFFIXES)}"
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an exported file")
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    if missing := [part for part in parts_of(path) if not part.is_file()]:
        raise ValueError(f"{missing[0]}, the other part of {path.name}, is missing; copy it, too")


def _threads_of_environment() -> int | None:
    """Return the number in OMP_NUM_THREADS, which the runtimes do not read."""
    number = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # by level of nesting
    return int(number) if number.isdigit() else None


def split_images(outputs: Mapping[str, NDArray[Any]], count: int) -> list[Arrays]:
    """Return each image's detections [D, ...], with recorded proposals [R, 4].

    A batch has either rows of all images, with their `image_index`, or padded rows of each image,
    the first `count` of which are detections. In the form of Model API, the last column of the
    boxes is the score, which is 0 in padding.
    """
    if outputs["boxes"].shape[-1] > BOX_SIDES:
        boxes, scores = outputs["boxes"][..., :BOX_SIDES], outputs["boxes"][..., BOX_SIDES]
        outputs = {**outputs, "boxes": boxes, "scores": scores, "count": (scores > 0).sum(axis=1)}
    names = [n for n in DETECTION_OUTPUTS if n in NEEDED_OUTPUTS or n in outputs]
    columns = {name: outputs[name] for name in names}
    if "image_index" in outputs:
        rows = [outputs["image_index"] == i for i in range(count)]
        found = [{name: column[own] for name, column in columns.items()} for own in rows]
    else:
        found = [
            {name: column[i, :length] for name, column in columns.items()}
            for i, length in enumerate(outputs["count"])
        ]
    if "proposal_boxes" not in outputs:
        return found
    proposals = zip(outputs["proposal_boxes"], outputs["proposal_count"], strict=True)
    return [
        own | {"proposals": boxes[:length]}
        for own, (boxes, length) in zip(found, proposals, strict=True)
    ]
