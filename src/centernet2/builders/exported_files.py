"""Load an exported file in place of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from centernet2.predict.exported_detector import ExportedDetector

PROVIDERS: Mapping[str, Mapping[str, Sequence[str]]] = {  # by suffix and device
    ".onnx": {"cpu": (), "cuda": ("CUDAExecutionProvider",)},
    ".xml": {"cpu": ()},
    ".pt2": {"cpu": (), "cuda": ("cuda",)},
}


def load_exported(path: Path, device: str | None, threads: int | None = None) -> ExportedDetector:
    """Load an exported file for cpu or cuda; None: cpu, with a thread for each core."""
    name, providers = device or "cpu", PROVIDERS[path.suffix]
    if name not in providers:
        raise ValueError(f"device is '{name}'; {path} runs on {' or '.join(providers)}")
    return ExportedDetector(path, providers=providers[name], threads=threads)


def require_plain(path: Any, overrides: Any, *, config: Any, dtype: str, compile: bool) -> None:
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
