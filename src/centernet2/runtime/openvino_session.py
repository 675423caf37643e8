"""A session of OpenVINO."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

DIMENSIONS = ("batch", "channels", "height", "width")  # names of those that are not fixed


class OpenVinoSession:
    """An OpenVINO file (.xml, with its .bin beside it) that is ready to run.

    Args:
        path: the .xml file.
        devices: of OpenVINO, the preferred one first; empty: the CPU.
        key: of the metadata.
    """

    def __init__(self, path: Path, devices: Sequence[str], key: str) -> None:
        openvino = _load_openvino()
        core = openvino.Core()
        device = _choose_device(devices, core.available_devices)
        try:
            model = core.read_model(path)
            # other precisions are the choice of an export, not of the device
            self.model = core.compile_model(model, device, {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as error:
            raise ValueError(
                f"{path} cannot be opened by openvino {openvino.__version__}: it or its .bin file "
                f"is damaged, or needs a newer openvino ({' '.join(str(error).split())})"
            ) from error
        self.metadata: Mapping[str, str] = {}
        if model.has_rt_info(key):
            self.metadata = {key: model.get_rt_info(key).value}
        shape = model.input(0).partial_shape
        lengths = [None if each.is_dynamic else each.get_length() for each in shape]
        self.input_shape: Sequence[int | str] = [
            name if length is None else length
            for length, name in zip(lengths, DIMENSIONS, strict=True)
        ]
        self.description = f"openvino {openvino.__version__.split('-')[0]}, {device}"

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for a batch of images, by name."""
        results = self.model(images)
        return {output.get_any_name(): results[output] for output in self.model.outputs}


def _load_openvino() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ValueError(
            f"openvino cannot be imported ({error}); install it: pip install centernet2[openvino]"
        ) from error


def _choose_device(devices: Sequence[str], available: Sequence[str]) -> str:
    device = devices[0] if devices else "CPU"
    if device not in available:
        raise ValueError(f"this openvino has no device {device}; it has {', '.join(available)}")
    return device
