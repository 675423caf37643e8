"""Read .pth, .safetensors and .pkl files without executing code in them."""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from torch import Tensor

from centernet2.checkpoint.foreign_objects import Unread, load_without_objects
from centernet2.checkpoint.wrappers import KEYS, inside_of_keys, without_prefixes
from centernet2.text_files import unicode_encoding

# Caffe2 has fused the statistics: mean 0, variance 1. The reference stores the variance minus eps.
CAFFE2_BN_EPS = 1e-5


# by the first bytes of a file, and by its suffix
EXPORTED = "an exported file"
JSON = "a JSON file (`eval` takes results by --predictions)"
OTHER_KINDS = {
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"\x89PNG": "a picture (PNG)",
    b"GIF8": "a picture (GIF)",
    b"RIFF": "a picture or a film (RIFF)",
    b"II*\0": "a picture (TIFF)",
    b"MM\0*": "a picture (TIFF)",
    b"BM": "a picture (BMP)",
    b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file, as of Keras",
    b"\x1f\x8b": "compressed (unpack it, by gunzip or tar)",
    b"\x93NUMPY": "an array of NumPy",
    b"{": JSON,
    b"[": JSON,
    b'<?xml version="1.0"?>\n<net ': EXPORTED,
    b"<": "a web page or an XML file (was it downloaded from the right address?)",
    b"version https": "a pointer of Git LFS (`git lfs pull` downloads the file)",
}
SUFFIXES = {
    ".yaml": "a YAML file (a config is given by --config-file, data by --data)",
    ".yml": "a YAML file (a config is given by --config-file, data by --data)",
    ".txt": "a text file",
    ".onnx": EXPORTED,
    ".pt2": EXPORTED,
}
TEXT, EMPTY, UNKNOWN = "a text file", "an empty file", "no file of PyTorch"
SUMMED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # types of weights
NOT_IN_TEXT = frozenset(range(8))  # bytes
ZIP_MARK, PICKLE_MARK = b"PK\3\4", b"\x80"  # of files of torch.save, now and up to PyTorch 1.5
TORCH_PICKLE_MARK = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # of the latter


class WeightsError(ValueError):
    """A weights file that cannot be used."""


def read_content(path: Path) -> Any:
    """Read a .pth, .safetensors or .pkl file, which its content tells apart."""
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {path}; give the path of a .pth, .pkl or .safetensors file"
        )
    _refuse_other_kinds(path)
    if is_safetensors(path):
        return _read_safetensors(path)
    is_pickle = path.suffix.lower() == ".pkl" or _starts(path, PICKLE_MARK)
    is_of_torch = _starts(path, ZIP_MARK, TORCH_PICKLE_MARK)  # torch.save takes any name
    return _read_pickle(path) if is_pickle and not is_of_torch else _read_torch(path)


def _starts(path: Path, *marks: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(max(map(len, marks))).startswith(marks)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: with the length of its header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 0 < length <= size - 8 and file.read(1) == b"{"


def is_readable_name(path: Path) -> bool:
    """Whether a checkpoint of this name is read as one, not as another kind of file."""
    return path.suffix.lower() not in (*SUFFIXES, ".safetensors")


def is_json_file(path: Path) -> bool:
    """Whether a file begins as JSON does, in any encoding of Unicode."""
    return path.is_file() and _other_kind(path) == JSON


def _other_kind(path: Path) -> str | None:
    """Recognize a file that is no weights file by its first bytes or its suffix."""
    if is_safetensors(path):  # the length of its header may be that of any mark
        return None
    with path.open("rb") as file:
        start = file.read(256)
    is_own = start.startswith((ZIP_MARK, PICKLE_MARK))
    encoding, mark_length = unicode_encoding(start)
    start = start[mark_length:]
    if encoding != "utf-8":
        start = start.decode(encoding, "ignore").encode()
    start = start.lstrip()
    kind = next((kind for mark, kind in OTHER_KINDS.items() if start.startswith(mark)), None)
    kind = kind or SUFFIXES.get(path.suffix.lower())
    if kind or is_own or path.suffix.lower() == ".pkl":  # its reader knows older marks
        return kind
    if path.suffix.lower() == ".safetensors" and start:
        return "no whole file of safetensors (it is damaged or cut off)"
    return (TEXT if NOT_IN_TEXT.isdisjoint(start) else UNKNOWN) if start else EMPTY


def _refuse_other_kinds(path: Path) -> None:
    """Raise WeightsError for a file that is recognized as something else."""
    advice = "give a .pth, .pkl or .safetensors file"
    if (kind := _other_kind(path)) == EXPORTED:
        advice = (
            "give the checkpoint that it was made from. Exported files, with a suffix in lower "
            "case, are for predict, explain, serve, pseudo-label, verify and doctor"
        )
    if kind is not None:
        raise WeightsError(f"{path} is {kind}, not a weights file; {advice}")


def caffe2_to_reference(blobs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename Caffe2's blobs of a ResNet or ResNeXt to the reference's parameter names."""
    state: dict[str, Tensor] = {}
    for blob, tensor in blobs.items():
        name = _caffe2_name(blob)
        if name is None:
            continue
        state[name] = tensor
        if name.endswith(".norm.weight"):
            norm = name.removesuffix("weight")
            state[f"{norm}running_mean"] = torch.zeros_like(tensor)
            state[f"{norm}running_var"] = torch.ones_like(tensor) - CAFFE2_BN_EPS
    return state


def _caffe2_name(blob: str) -> str | None:
    match = re.fullmatch(r"(?:res_)?conv1(_bn)?_([wsb])", blob)
    if match:
        layer = "stem.conv1"
    else:
        match = re.fullmatch(r"res(\d)_(\d+)_branch(1|2[abc])(_bn)?_([wsb])", blob)
        if not match:
            return None
        branch = "shortcut" if match[3] == "1" else f"conv{'abc'.index(match[3][1]) + 1}"
        layer = f"res{match[1]}.{match[2]}.{branch}"
    *_, norm, kind = match.groups()
    leaf = "weight" if kind in "ws" else "bias"
    return f"backbone.bottom_up.{layer}.{'norm.' if norm else ''}{leaf}"


def find_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors in the content of a file, by name."""
    inner = inside_of_keys(content)
    values = [inner, *(inner.get(key) for key in KEYS)] if isinstance(inner, Mapping) else [inner]
    unread = next((each for each in values if isinstance(each, Unread)), None)
    if unread is not None:
        raise WeightsError(
            f"{path} holds a whole model, '{unread.kind}', and only tensors are read; save its "
            "weights alone with the program that made it: torch.save(model.state_dict(), ...)"
        )
    if not isinstance(inner, Mapping):
        raise WeightsError(f"{path} holds no dictionary of weights")
    state = {}
    for name, value in inner.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor) and isinstance(name, str):
            state[name] = require_weight(value, name, path)
    if not state:
        keys = f" among {', '.join(map(str, list(inner)[:6]))}" if inner else ""
        raise WeightsError(f"{path} holds no weights{keys}")
    return without_prefixes(state, path)


def require_weight(value: Tensor, name: str, origin: object) -> Tensor:
    """Return a dense tensor of finite numbers; WeightsError if it is none."""
    if value.layout == torch.sparse_coo:
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    is_integer = not value.is_floating_point() and value.ndim > 1
    if is_integer or value.is_complex() or value.is_meta or value.layout != torch.strided:
        kind = f"{value.dtype}, {value.layout}, on {value.device}"
        raise WeightsError(f"{origin}: its '{name}' is no weight ({kind}); save it as float32")
    # the sum is fast; it may be infinite by itself
    if value.dtype in SUMMED and not value.sum().isfinite() and not value.isfinite().all():
        raise WeightsError(
            f"{origin}: its '{name}' has values that are NaN or infinite, as after a training run "
            "that diverged; give an earlier checkpoint of it"
        )
    return value


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that it refuses then
            # memory-mapped if the format allows it, so that memory never holds all weights twice
            mapped = zipfile.is_zipfile(path)
            load = partial(torch.load, path, map_location="cpu", weights_only=True, mmap=mapped)
            return load_without_objects(path, load)
    except Exception as error:  # a damaged file can fail in any way
        reason = _reason(str(error), path)
        raise WeightsError(f"{path} is not a readable PyTorch file of weights: {reason}") from error


def _reason(message: str, path: Path) -> str:
    """Say in a few words why PyTorch cannot read a file; its own messages are long."""
    if foreign := re.search(r"GLOBAL ([\w.]+)", message):
        return f"it contains '{foreign[1]}', and only tensors are read"
    if "TorchScript" in message:
        return "it is a program of TorchScript; save the state_dict of the model"
    if not _starts(path, ZIP_MARK):
        return "it is damaged, or a pickle with other content than tensors"
    if not zipfile.is_zipfile(path):
        return "it is damaged or cut off"
    with zipfile.ZipFile(path) as archive:
        is_own = any(name.endswith("data.pkl") for name in archive.namelist())
    return "it is damaged" if is_own else "it is an archive with other content"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of arrays and plain containers; anything else is refused."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    ALLOWED_OF_NUMPY = (  # by their modules of NumPy 2
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    )

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.ALLOWED:
            return self.ALLOWED[module, name]
        own = module.replace("numpy.core.", "numpy._core.")
        if (own, name) in self.ALLOWED_OF_NUMPY:
            return getattr(import_module(own), name)
        raise WeightsError(
            f"{self.path} is refused: it contains '{module}.{name}', "
            "and only arrays are read from pickles"
        )


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            return _ArrayUnpickler(file, path).load()
        except WeightsError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way
            raise WeightsError(
                f"{path} is not a readable pickle of arrays: it is damaged, cut off or of another "
                "kind"
            ) from error
