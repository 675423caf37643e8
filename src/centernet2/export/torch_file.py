"""Files of PyTorch: exported programs, and programs compiled by AOTInductor."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from centernet2.outputs import mark_of
from centernet2.runtime.session import METADATA_KEY
from centernet2.runtime.torch_session import CAPABILITY_KEY


def save_program(program: ExportedProgram, path: Path, metadata: str, *, compile: bool) -> None:
    """Write a program to a .pt2 file, which needs PyTorch and torchvision alone.

    Args:
        metadata: JSON that the file carries under METADATA_KEY.
        compile: compile the program for the CPU of this machine.
    """
    table = {torch.ops.centernet2.nms_of_batch.default: _nms_of_batch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # which torchvision itself causes
        portable = program.run_decompositions(table)
    if compile:
        _compile(portable, path, metadata)
    else:
        torch.export.save(portable, path, extra_files={METADATA_KEY: metadata})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = f"{mark_of('export')}\n".encode()


def _compile(program: ExportedProgram, path: Path, metadata: str) -> None:
    facts = {METADATA_KEY: metadata, CAPABILITY_KEY: torch.backends.cpu.get_cpu_capability()}
    options: dict[str, Any] = {
        "aot_inductor.metadata": facts,
        "cpp.dynamic_threads": True,  # those of the process that runs the file
    }
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=options
        )
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"AOTInductor cannot compile the detector ({reason}); use --format torch"
        ) from error


def _nms_of_batch(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float, num_classes: int
) -> Tensor:
    """Mark the boxes that NMS keeps, as `nms_of_batch`, with torchvision's operator.

    Boxes of other classes and images are moved apart. float64 keeps their sides exact.
    """
    images = torch.arange(boxes.shape[0], device=boxes.device)[:, None]
    groups = images if num_classes == 1 else images * num_classes + labels  # [N, R]
    corners = boxes.double()
    place = groups.double() * (corners.max() - corners.min() + 1)
    moved = (corners + place[..., None]).flatten(0, 1)
    kept = torch.ops.torchvision.nms(moved, scores.double().flatten(), iou_threshold)
    mask = torch.zeros_like(scores, dtype=torch.bool).flatten().index_fill(0, kept, True)
    return torch.unflatten(mask, 0, scores.shape) & (scores >= 0)
