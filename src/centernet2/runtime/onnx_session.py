"""A session of ONNX Runtime."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

CPU = "CPUExecutionProvider"
INPUT = "images"


class OnnxSession:
    """An ONNX file that is ready to run.

    Args:
        path: the file.
        providers: execution providers, the preferred one first; empty: the CPU's.
    """

    def __init__(self, path: Path, providers: Sequence[str]) -> None:
        runtime = _load_onnxruntime()
        chosen = _check_providers(providers, runtime.get_available_providers())
        content = path.read_bytes()
        try:
            self.session = runtime.InferenceSession(content, providers=chosen)
        except Exception as error:  # the errors of ONNX Runtime have no class of their own
            raise ValueError(
                f"{path} cannot be opened by onnxruntime {runtime.__version__}: it is damaged, or "
                f"needs a newer onnxruntime ({' '.join(str(error).split())})"
            ) from error
        self.names = [output.name for output in self.session.get_outputs()]
        self.input_shape: Sequence[int | str] = self.session.get_inputs()[0].shape
        self.metadata: Mapping[str, str] = self.session.get_modelmeta().custom_metadata_map
        self.description = f"onnxruntime {runtime.__version__}, {self.session.get_providers()[0]}"

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for a batch of images, by name."""
        outputs = self.session.run(self.names, {INPUT: images})
        return dict(zip(self.names, outputs, strict=True))


def _load_onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ValueError(
            f"onnxruntime cannot be imported ({error}); install it: pip install centernet2[export]"
        ) from error


def _check_providers(providers: Sequence[str], available: Sequence[str]) -> list[str]:
    missing = [name for name in providers if name not in available]
    if missing:
        raise ValueError(
            f"this onnxruntime has no execution provider {missing[0]}; it has "
            f"{', '.join(available)}"
        )
    return [*providers, *([] if CPU in providers else [CPU])]
