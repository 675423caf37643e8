"""A session of OpenVINO."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from centernet2.runtime.session import (
    METADATA_KEY,
    Arrays,
    Placement,
    import_runtime,
    only_device,
)

PACKAGE = ("openvino", "centernet2[openvino]")
CPU, NO_DEVICE = "CPU", "no device"
DATA = ("Constant", "Parameter", "Result")  # nodes that compute nothing


class OpenVinoSession:
    """An OpenVINO file (.xml, with its .bin beside it) that is ready to run.

    Args:
        devices: of OpenVINO, at most one; empty: the CPU.
        threads: of the CPU; None: one for each core.
    """

    def __init__(self, path: Path, devices: Sequence[str], *, threads: int | None = None) -> None:
        openvino = import_runtime(*PACKAGE)
        core = openvino.Core()
        device = _choose_device(devices, core.available_devices)
        with _named_errors(openvino, path):
            model = core.read_model(path)
            # other precisions are the choice of an export, not of the device
            settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
            if threads and device == CPU:  # other devices refuse it
                settings["INFERENCE_NUM_THREADS"] = threads
            self.model = core.compile_model(model, device, settings)
        has_metadata = model.has_rt_info(METADATA_KEY)
        self.metadata = model.get_rt_info(METADATA_KEY).value if has_metadata else None
        self.description = f"{_name(openvino)}, {device}"

    def run(self, images: NDArray[Any]) -> Arrays:
        """Return the outputs for a batch of images, by name."""
        # a request of its own: that of the model would be busy with the call of another thread
        results = self.model.create_infer_request().infer(images)
        return {output.get_any_name(): results[output] for output in self.model.outputs}


def place_openvino_nodes(path: Path, devices: Sequence[str]) -> Placement:
    """Find which nodes of a file a device can run."""
    openvino = import_runtime(*PACKAGE)
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
    return Placement(_name(openvino), core.available_devices, operators)


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


def _choose_device(devices: Sequence[str], available: Sequence[str]) -> str:
    device = only_device("openvino", devices, CPU)
    if device not in {*available, *(name.partition(".")[0] for name in available)}:  # of GPU.0, too
        raise ValueError(f"this openvino has no device {device}; it has {', '.join(available)}")
    return device
