"""The formats of exported files, and what this machine needs to write them."""

import importlib
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

THIS_PACKAGE = "centernet2"
TRACING = ("torch", "torchvision")
ONNX = (*TRACING, "onnx", "onnxscript")
COMPILERS = ("c++", "g++", "clang++")


class Format(NamedTuple):
    """A format of exported files."""

    suffix: str
    packages: tuple[str, ...]  # that write and run the files
    extra: str  # that installs them


FORMATS = {  # the first one of a suffix is what the suffix stands for
    "onnx": Format(".onnx", (*ONNX, "onnxruntime"), "export"),
    "openvino": Format(".xml", (*ONNX, "openvino"), "openvino"),
    "torch": Format(".pt2", TRACING, "export"),
    "model-api": Format(".xml", (*ONNX, "openvino"), "openvino"),
    "tensorrt": Format(".onnx", (*ONNX, "onnxruntime"), "export"),
    "aotinductor": Format(".pt2", TRACING, "export"),
}
DEFAULT = "onnx"


def choose_format(output: Path | None, name: str | None) -> tuple[Path, str]:
    """Return the file to write and its format, from --output and --format.

    Raises:
        ValueError: there is no such format, or the two contradict each other.
    """
    if name is not None and name not in FORMATS:
        raise ValueError(f"--format is '{name}'; choose one of {', '.join(FORMATS)}")
    if output is None:
        return Path("model").with_suffix(FORMATS[name or DEFAULT].suffix), name or DEFAULT
    suffixes = {own.suffix: each for each, own in reversed(FORMATS.items())}
    if name is None and output.suffix not in suffixes:
        raise ValueError(f"--output is {output}; end it in {' or '.join(sorted(suffixes))}")
    name = name or suffixes[output.suffix]
    suffix = FORMATS[name].suffix
    if output.suffix != suffix:
        raise ValueError(f"--output is {output}, but a file of --format {name} ends in {suffix}")
    return output, name


def require_packages(name: str) -> None:
    """Raise ValueError if what a format needs is missing or too old."""
    unfit = list(filter(None, map(_reason, FORMATS[name].packages)))
    if unfit:
        raise ValueError(
            f"--format {name} is not possible: {', '.join(unfit)}; install what it needs: "
            f'pip install "{THIS_PACKAGE}[{FORMATS[name].extra}]"'
        )
    if name == "aotinductor" and not any(map(shutil.which, COMPILERS)):
        raise ValueError(
            f"--format {name} needs a C++ compiler, and there is none ({', '.join(COMPILERS)}); "
            "install one, or use --format torch"
        )


def _reason(package: str) -> str | None:
    """Say why a package cannot be used; None: it can be."""
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    except Exception as error:  # such as of a library that it needs
        return f"{package} cannot be imported ({' '.join(str(error).split())})"
    installed, needed = _installed(module), _needed(package)
    is_fit = installed is None or needed.contains(installed, prereleases=True)
    return None if is_fit else f"{package} {installed} is installed, but {needed} is needed"


def _installed(module: ModuleType) -> str | None:
    """Return the version of a package; None: it states none."""
    try:
        return version(module.__name__)
    except PackageNotFoundError:  # of another distribution, such as onnxruntime-gpu
        stated: str | None = getattr(module, "__version__", None)
        return stated and stated.partition("-")[0]  # openvino states a build after the hyphen


def _needed(package: str) -> SpecifierSet:
    """Return the versions of a package that the extras of this package ask for."""
    try:
        own = [Requirement(text) for text in requires(THIS_PACKAGE) or []]
    except PackageNotFoundError:  # it is run from its sources
        own = []
    extras = [each.extra for each in FORMATS.values()]
    specifiers = [
        each.specifier
        for each in own
        if each.name == package
        and (each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras))
    ]
    return SpecifierSet(",".join(map(str, specifiers)))
