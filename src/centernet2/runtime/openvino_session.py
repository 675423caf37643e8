"""A session of OpenVINO."""

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

CPU, NO_DEVICE = "CPU", "no device"
DATA = ("Constant", "Parameter", "Result")  # nodes that compute nothing


class OpenVinoSession:
    """An OpenVINO file (.xml, with its .bin beside it) that is ready to run.

    Args:
        path: the .xml file.
        devices: of OpenVINO, at most one; empty: the CPU.
        key: of the metadata.
        threads: of the CPU; None: one for each core.
    """

    def __init__(
        self, path: Path, devices: Sequence[str], key: str, *, threads: int | None = None
    ) -> None:
        openvino = _load_openvino()
        core = openvino.Core()
        device = _choose_device(devices, core.available_devices)
        with _named_errors(openvino, path):
            model = core.read_model(path)
            # other precisions are the choice of an export, not of the device
            settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
            if threads and device == CPU:  # other devices refuse it
                settings["INFERENCE_NUM_THREADS"] = threads
            self.model = core.compile_model(model, device, settings)
        self.metadata: Mapping[str, str] = {}
        if model.has_rt_info(key):
            self.metadata = {key: model.get_rt_info(key).value}
        self.description = f"{_name(openvino)}, {device}"

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for a batch of images, by name."""
        # a request of its own: that of the model would be busy with the call of another thread
        results = self.model.create_infer_request().infer(images)
        return {output.get_any_name(): results[output] for output in self.model.outputs}


def place_openvino_nodes(
    path: Path, devices: Sequence[str]
) -> tuple[str, list[str], dict[str, Counter[str]]]:
    """Find which nodes of a file a device can run, see `Placement`."""
    openvino = _load_openvino()
    core = openvino.Core()
    device = _choose_device(devices, core.available_devices)
    with _named_errors(openvino, path):
        model = core.read_model(path)
        supported = core.query_model(model, device)
    operators: dict[str, Counter[str]] = {device: Counter(), NO_DEVICE: Counter()}
    for node in model.get_ops():
        if node.get_type_name() not in DATA:
            own = device if node.get_friendly_name() in supported else NO_DEVICE
            operators[own][node.get_type_name()] += 1
    return _name(openvino), core.available_devices, operators


def _name(openvino: Any) -> str:
    return f"openvino {openvino.__version__.split('-')[0]}"


@contextmanager
def _named_errors(openvino: Any, path: Path) -> Iterator[None]:
    """Turn the errors of OpenVINO about a file into a sentence that names it."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(
            f"{path} cannot be opened by {_name(openvino)}: it or its .bin file is damaged, or "
            f"needs a newer openvino ({' '.join(str(error).split())})"
        ) from error


def _load_openvino() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ValueError(
            f"openvino cannot be imported ({error}); install it: pip install centernet2[openvino]"
        ) from error


def _choose_device(devices: Sequence[str], available: Sequence[str]) -> str:
    if len(devices) > 1:
        names = ", ".join(devices)
        raise ValueError(f"openvino runs a file on one device; choose one of {names}")
    device = devices[0] if devices else CPU
    if device not in {*available, *(name.partition(".")[0] for name in available)}:  # of GPU.0, too
        raise ValueError(f"this openvino has no device {device}; it has {', '.join(available)}")
    return device
