"""A session of PyTorch."""

import importlib
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

COMPILED, EXTRA = "data/aotinductor/", "extra/"  # folders of an archive
CPU = "cpu"


class TorchSession:
    """A program of PyTorch (.pt2) that is ready to run: exported, or compiled by AOTInductor.

    Args:
        path: the file.
        devices: of PyTorch, at most one; empty: the CPU.
        key: of the metadata.
        threads: of the CPU during a call, in the whole process; None: those of PyTorch.
    """

    def __init__(
        self, path: Path, devices: Sequence[str], key: str, *, threads: int | None = None
    ) -> None:
        self.torch = _load_torch()
        self.threads = threads
        self.device = _choose_device(self.torch, devices)
        try:
            self.program, text = self._load(path, key)
        except Exception as error:  # the errors of its readers have no common class
            raise ValueError(
                f"{path} cannot be opened by torch {self.torch.__version__}: it is damaged, or "
                f"needs another torch or device ({' '.join(str(error).split())})"
            ) from error
        self.metadata: Mapping[str, str] = {} if text is None else {key: text}
        self.description = f"torch {self.torch.__version__.split('+')[0]}, {self.device}"

    def run(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs for a batch of images, by name."""
        with self.torch.no_grad(), self._with_threads():
            outputs = self.program(self.torch.from_numpy(images).to(self.device))
        return {name: column.cpu().numpy() for name, column in outputs.items()}

    @contextmanager
    def _with_threads(self) -> Iterator[None]:
        before: int = self.torch.get_num_threads()
        self.torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            self.torch.set_num_threads(before)

    def _load(self, path: Path, key: str) -> tuple[Callable[[Any], Any], str | None]:
        """Return the program, and its metadata if there are any."""
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            own = [name for name in names if name.endswith(f"/{EXTRA}{key}")]
            text = archive.read(own[0]).decode() if own else None
        if any(COMPILED in name for name in names):
            compiled = self.torch._inductor.aoti_load_package(str(path))
            return compiled, compiled.get_metadata().get(key)
        # it would log the traceback of a damaged file
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        passes = importlib.import_module("torch.export.passes")
        program = passes.move_to_device_pass(self.torch.export.load(path), self.device)
        return program.module(), text


def _load_torch() -> Any:
    try:
        importlib.import_module("torchvision")  # which registers its operators
        return importlib.import_module("torch")
    except ImportError as error:
        raise ValueError(
            f"torch and torchvision cannot be imported ({error}); install them: pip install "
            "torch torchvision"
        ) from error


def _choose_device(torch: Any, devices: Sequence[str]) -> str:
    if len(devices) > 1:
        names = ", ".join(devices)
        raise ValueError(f"torch runs a file on one device; choose one of {names}")
    device = devices[0] if devices else CPU
    available = [CPU, *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in available:
        raise ValueError(f"this torch has no device {device}; it has {', '.join(available)}")
    return device
