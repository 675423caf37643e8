"""Load the detectors that a service offers; exported files need no PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centernet2.builders.detector.predictor_loading import load_predictor
from centernet2.predict.abstaining_file import AbstainingFile
from centernet2.predict.explanation_sentences import Unexplained
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.predictor import Predictor
from centernet2.runtime.exported_model import EXPORTED_SUFFIXES, parts_of
from centernet2.serve.served_model import ServedModel
from centernet2.structures import StrPath
from centernet2.text_files import read_text_file

if TYPE_CHECKING:
    from centernet2.config import Config, Overrides

HASH = re.compile(r"([0-9a-f]{64})(?:\s.*)?", re.IGNORECASE)  # a line of sha256sum
RUN_FILE = re.compile(r"model_(final|best|\d+)\.pth")  # of every training run
Bucket = Callable[[int, int], tuple[int, int]]


def load_served(
    weights: Sequence[StrPath],
    overrides: Overrides = (),
    *,
    config: Config | StrPath | None = None,
    approved: Path | None = None,
    batch_size: int,
    **inference: Any,
) -> list[ServedModel]:
    """Load the detectors of a service; each is named by its weights.

    Args:
        weights: of each detector; the first is the default.
        overrides, config, inference: for all of them, as for `load_predictor`.
        approved: file with the SHA-256 of the weights that may be loaded; None: all may.
        batch_size: images per forward pass.
    """
    hashes = None if approved is None else _read_hashes(approved)
    digests = [_digest(each, hashes) for each in weights]
    load = partial(load_predictor, overrides=overrides, config=config, **inference)
    # OpenMP's threads end with the thread that has started them. Beside those of the service's own
    # thread they would be more than the cores, and would no longer spin: three times slower.
    with ThreadPoolExecutor(1, "load") as loading:
        predictors = [loading.submit(load, each).result() for each in weights]
    models = []
    for name, digest, loaded in zip(_names_of(weights), digests, predictors, strict=True):
        predictor = loaded.with_batch_size(batch_size)
        model = ServedModel(
            name, predictor, _bucket_of(predictor), _unexplained(predictor), digest,
            _image_size(predictor),
        )  # fmt: skip
        models.append(model)
    return models


def _names_of(weights: Sequence[StrPath]) -> list[str]:
    """Return a name for each detector, of its file or folder; equal ones are numbered."""
    stems = [_name_of(Path(each)) for each in weights]
    return [
        stem if stems.index(stem) == number else f"{stem} ({number + 1})"
        for number, stem in enumerate(stems)
    ]


def _name_of(path: Path) -> str:
    """Return the name of a file or, for a run or its checkpoint, of the run's folder."""
    if RUN_FILE.fullmatch(path.name):
        path = path.absolute().parent
    return path.stem if path.is_file() else path.name


def _bucket_of(predictor: Predictor) -> Bucket:
    """Return the function that tells which images have one size for the detector."""
    model = predictor.model
    if isinstance(model, ExportedDetector):
        return _own_size
    from centernet2.images.resize import make_test_resize
    from centernet2.models.detector import Detector

    if not isinstance(model, Detector):  # test-time augmentation
        return _own_size
    preprocess, resize = model.preprocess, make_test_resize(model.info.test_size)

    def padded(height: int, width: int) -> tuple[int, int]:
        return preprocess.padded_size(*resize.output_size(height, width))

    return padded


def _own_size(height: int, width: int) -> tuple[int, int]:
    return height, width


def _unexplained(predictor: Predictor) -> Unexplained | None:
    """Return why a detector cannot say why there is a box or none; None: it can."""
    if isinstance(predictor.model, AbstainingFile):
        return "augmented"
    if isinstance(predictor.model, ExportedDetector):
        if not predictor.model.has_record:
            return "no record"
        return "no torch" if find_spec("torch") is None else None
    from centernet2.models.detector import Detector

    return None if isinstance(predictor.model, Detector) else "augmented"


def _image_size(predictor: Predictor) -> tuple[int, int]:
    """Return height and width of an image that the detector takes."""
    model = predictor.model
    fixed = model.image_size if isinstance(model, ExportedDetector) else None
    return fixed or ServedModel.image_size


def _read_hashes(path: Path) -> set[str]:
    """Read the SHA-256 of each line, as `sha256sum` writes them."""
    lines = [line.strip() for line in read_text_file(path).splitlines()]
    found = set()
    for number, line in enumerate(lines, start=1):
        match = HASH.fullmatch(line)
        if match:
            found.add(match[1].lower())
        elif line and not line.startswith("#"):
            raise ValueError(
                f"{path}, line {number}: this is no SHA-256; write lines as of sha256sum"
            )
    if not found:
        raise ValueError(f"{path}: the list of approved weights is empty; add lines of sha256sum")
    return found


def _digest(weights: StrPath, approved: set[str] | None) -> str:
    """Return the SHA-256 of weights that are approved; empty: there is no list."""
    if approved is None:
        return ""
    from centernet2.zoo.download import sha256

    digests = [(path, sha256(path)) for path in _files_of(weights)]
    for path, digest in digests:
        if digest not in approved:
            raise ValueError(
                f"{path}: its SHA-256, {digest}, is not in --approved; add it if you trust it"
            )
    return digests[-1][1]


def _files_of(weights: StrPath) -> Iterator[Path]:
    if Path(weights).suffix in EXPORTED_SUFFIXES:
        yield from parts_of(Path(weights))
        return
    from centernet2.builders.detector.initial_weights import find_weights
    from centernet2.checkpoint.checkpoint import find_in_run

    yield find_in_run(find_weights(weights))
