"""Load a predictor from weights, or from an exported file without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from centernet2.arguments import checked
from centernet2.predict.abstaining_file import AbstainingFile
from centernet2.predict.exported_detector import ExportedDetector
from centernet2.predict.predictor import Predictor
from centernet2.predict.tiling import Tiling
from centernet2.runtime.exported_model import EXPORTED_SUFFIXES

if TYPE_CHECKING:
    from centernet2.config import Config, Overrides
    from centernet2.models.abstention import AbstainingDetector
    from centernet2.models.detector import Detector

PROVIDERS: Mapping[str, Mapping[str, Sequence[str]]] = {  # by suffix and device
    ".onnx": {"cpu": (), "cuda": ("CUDAExecutionProvider",)},
    ".xml": {"cpu": ()},
    ".pt2": {"cpu": (), "cuda": ("cuda",)},
}


@checked()
def load_predictor(
    weights: str | os.PathLike[str],
    overrides: Overrides = (),
    *,
    config: Config | str | os.PathLike[str] | None = None,
    device: str | None = None,
    dtype: str = "fp32",
    compile: bool = False,
    tiling: Tiling | None = None,
    threads: int | None = None,
    abstain: bool = False,
) -> Predictor:
    """Load a predictor, with test-time augmentation if TEST.AUG.ENABLED is True.

    An exported file (.onnx, .xml) needs no PyTorch.

    Args:
        weights, overrides, config, device, dtype, compile: those of `load_for_inference`.
        tiling: see `Predictor`.
        threads: of the CPU for an exported file, see `ExportedModel`. Those for weights are set for
            the whole process, by `torch.set_num_threads`.
        abstain: detect objects of none of the classes as "unknown", see `AbstainingDetector`. An
            exported file needs its record (`export --record`), and no masks.
    """
    if Path(weights).suffix in EXPORTED_SUFFIXES:
        _require_plain(weights, overrides, config=config, dtype=dtype, compile=compile)
        kind = AbstainingFile if abstain else ExportedDetector
        return Predictor(_load_exported(kind, Path(weights), device, threads), tiling=tiling)
    from centernet2.builders.detector.loading import config_of, load_for_inference
    from centernet2.builders.detector.network import build_augmented

    model = load_for_inference(
        weights, overrides, config=config, device=device, dtype=dtype, compile=compile
    )
    options = config_of(model.info)
    if abstain:
        return Predictor(_abstaining(model, options), tiling=tiling)
    if options.test_augmentation.enabled:
        return Predictor(build_augmented(options, model), tiling=tiling)
    return Predictor(model, tiling=tiling)


def _load_exported(
    kind: type[ExportedDetector], path: Path, device: str | None, threads: int | None
) -> ExportedDetector:
    """Load an exported file for cpu or cuda; None: cpu."""
    name, providers = device or "cpu", PROVIDERS[path.suffix]
    if name not in providers:
        raise ValueError(f"device is '{name}'; {path} runs on {' or '.join(providers)}")
    return kind(path, providers=providers[name], threads=threads)


def _require_plain(path: Any, overrides: Any, *, config: Any, dtype: str, compile: bool) -> None:
    """Raise ValueError for options that an exported file does not read."""
    given = {
        "config overrides": bool(overrides),
        "--config-file": config is not None,
        "--dtype": dtype != "fp32",
        "--compile": compile,
    }
    if unread := [name for name, is_given in given.items() if is_given]:
        raise ValueError(
            f"{path} is an exported file, to which {' and '.join(unread)} cannot be applied; "
            "export the model with them"
        )


def _abstaining(model: Detector, options: Config) -> AbstainingDetector:
    from centernet2.models.abstention import AbstainingDetector

    if model.roi_heads is None:
        raise ValueError("a one-stage detector cannot abstain: it has no second opinion of a box")
    if options.test_augmentation.enabled:
        raise ValueError("a detector abstains on the image as it is; set TEST.AUG.ENABLED False")
    return AbstainingDetector(model)
