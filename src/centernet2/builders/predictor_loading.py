"""Load a predictor from weights, or from an exported file without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from centernet2.arguments import checked
from centernet2.builders.exported_files import load_exported, require_plain
from centernet2.predict.predictor import Predictor
from centernet2.predict.tiling import Tiling
from centernet2.runtime.exported_model import EXPORTED_SUFFIXES

if TYPE_CHECKING:
    from centernet2.config import Config, Overrides


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
) -> Predictor:
    """Load a predictor, with test-time augmentation if TEST.AUG.ENABLED is True.

    An exported file (.onnx, .xml) needs no PyTorch.

    Args:
        weights, overrides, config, device, dtype, compile: those of `load_for_inference`.
        tiling: see `Predictor`.
        threads: of the CPU for an exported file; None: one for each core. Those for weights are set
            for the whole process, by `torch.set_num_threads`.
    """
    if Path(weights).suffix in EXPORTED_SUFFIXES:
        require_plain(weights, overrides, config=config, dtype=dtype, compile=compile)
        return Predictor(load_exported(Path(weights), device, threads), tiling=tiling)
    from centernet2.builders.loading import config_of, load_for_inference
    from centernet2.builders.network import build_augmented

    model = load_for_inference(
        weights, overrides, config=config, device=device, dtype=dtype, compile=compile
    )
    options = config_of(model.info)
    if options.test_augmentation.enabled:
        return Predictor(build_augmented(options, model), tiling=tiling)
    return Predictor(model, tiling=tiling)
