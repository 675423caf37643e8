"""A session of PyTorch."""

import importlib
import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from centernet2.runtime.session import METADATA_KEY, Arrays, import_runtime, only_device
from centernet2.threads import cpu_threads

COMPILED, EXTRA = "data/aotinductor/", "extra/"  # folders of an archive
CPU = "cpu"
CAPABILITY_KEY = "cpu_capability"  # in the metadata of a compiled program: of the CPU it is for
CAPABLE = {"AVX2": ("AVX2", "AVX512"), "AVX512": ("AVX512",)}  # of CPUs that run what is for one


class TorchSession:
    """A program of PyTorch (.pt2), exported or compiled by AOTInductor, ready to run.

    Args:
        devices: of PyTorch, at most one; empty: the CPU.
        threads: of the CPU during a call, in the whole process; None: those of PyTorch.
    """

    def __init__(self, path: Path, devices: Sequence[str], *, threads: int | None = None) -> None:
        import_runtime("torchvision", "torch torchvision")  # which registers its operators
        self.torch = importlib.import_module("torch")
        self.threads = threads
        self.device = _choose_device(self.torch, devices)
        try:
            self.program, self.metadata = self._load(path)
        except Exception as error:  # the errors of its readers have no common class
            raise ValueError(
                f"{path} cannot be opened by torch {self.torch.__version__}: it is damaged, or "
                f"needs another torch or device ({' '.join(str(error).split())})"
            ) from error
        self.description = f"torch {self.torch.__version__.split('+')[0]}, {self.device}"

    def run(self, images: NDArray[Any]) -> Arrays:
        """Return the outputs for a batch of images, by name."""
        with self.torch.no_grad(), cpu_threads(self.threads):
            outputs = self.program(self.torch.from_numpy(images).to(self.device))
        return {name: column.cpu().numpy() for name, column in outputs.items()}

    def _load(self, path: Path) -> tuple[Callable[[Any], Any], str | None]:
        """Return the program, and its metadata if there are any."""
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            own = [name for name in names if name.endswith(f"/{EXTRA}{METADATA_KEY}")]
            text = archive.read(own[0]).decode() if own else None
        if any(COMPILED in name for name in names):
            compiled = self.torch._inductor.aoti_load_package(str(path))
            facts = compiled.get_metadata()
            wanted, own = facts.get(CAPABILITY_KEY), self.torch.backends.cpu.get_cpu_capability()
            if own not in CAPABLE.get(wanted, (own,)):  # it would end this process
                raise ValueError(
                    f"it is compiled for CPUs with {wanted}, and this one has {own}; export it on "
                    "this machine, or with --format torch, which does not compile"
                )
            return compiled, facts.get(METADATA_KEY)
        # it would log the traceback of a damaged file
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        passes = importlib.import_module("torch.export.passes")
        program = passes.move_to_device_pass(self.torch.export.load(path), self.device)
        return program.module(), text


def _choose_device(torch: Any, devices: Sequence[str]) -> str:
    device = only_device("torch", devices, CPU)
    available = [CPU, *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in available:
        raise ValueError(f"this torch has no device {device}; it has {', '.join(available)}")
    return device
