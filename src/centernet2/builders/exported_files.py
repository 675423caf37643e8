"""Load an exported file in place of weights."""

from pathlib import Path
from typing import Any

from centernet2.predict.exported_detector import ExportedDetector

PROVIDERS = {"cpu": (), "cuda": ("CUDAExecutionProvider",)}  # of ONNX Runtime, by device


def load_exported(path: Path, device: str | None, threads: int | None = None) -> ExportedDetector:
    """Load an exported file for cpu or cuda; None: cpu, with a thread for each core."""
    name = device or "cpu"
    if name not in PROVIDERS:
        raise ValueError(f"device is '{name}'; {path} runs on {' or '.join(PROVIDERS)}")
    return ExportedDetector(path, providers=PROVIDERS[name], threads=threads)


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
