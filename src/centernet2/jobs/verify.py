"""The command `verify`: compare an exported file with PyTorch's detections again."""

from pathlib import Path
from typing import Any

from centernet2.arguments import checked
from centernet2.jobs import PathArgument, ProvidersArgument


@checked()
def verify(
    file: PathArgument,
    *,
    providers: ProvidersArgument = (),
) -> dict[str, Any]:
    """Compare an exported file on this machine with the detections that PyTorch gave.

    It reads the files that `centernet2 export` has written beside it, and needs no PyTorch.

    Parameters
    ----------
    file
        The exported file.
    providers
        Execution providers of ONNX Runtime, the preferred one first, such as
        CUDAExecutionProvider; or devices of OpenVINO, such as GPU; default: the CPU.

    Returns
    -------
    How many detections agree, and how far they differ.
    """
    from centernet2.runtime.verification import verify_file

    return verify_file(Path(file), providers=providers)
