"""The command `export`: write a detector to a file that other runtimes run."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import ConfigArgument, Flag, OverridePairs, PathArgument, WeightsArgument
from centernet2.jobs.benchmark import parse_size
from centernet2.outputs import require_replaceable, writable_file
from centernet2.ranges import at_least, between

if TYPE_CHECKING:
    from torch import Tensor

REQUIRED_SHARE = 0.99  # as ExportOptions has it
logger = logging.getLogger(__name__)


@checked(batch=at_least(1), required_share=between(0, 1))
def export(
    *overrides: OverridePairs,
    weights: WeightsArgument,
    output: PathArgument | None = None,
    format: str | None = None,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    images: PathArgument | None = None,
    batch: int | None = None,
    size: str | None = None,
    lists: Flag = False,
    record: Flag = False,
    required_share: float = REQUIRED_SHARE,
) -> dict[str, Any]:
    """Export a detector to a file of ONNX, OpenVINO or PyTorch: uint8 images in, their boxes out.

    The file is compared with PyTorch before it appears. Beside it are OUTPUT.certificate.json, the
    result of this comparison, and OUTPUT.reference.npz, with which `centernet2 verify` repeats it.

    Parameters
    ----------
    weights
        A checkpoint, the folder of a training run, or zoo:NAME of a published model. Our
        checkpoints need no --config-file.
    output
        The file, which ends in .onnx, in .xml for OpenVINO, or in .pt2 for PyTorch; default: model
        with the suffix of --format.
    format
        onnx; openvino; model-api, which OpenVINO's Model API opens without this package and which
        needs --size; torch, an exported program; or aotinductor, a program compiled for CPUs like
        that of this machine, which needs a C++ compiler. Default: onnx, openvino or torch, as the
        suffix of --output says.
    config
        Path or name of the config, for weights files without one.
    images
        Image file, folder or pattern: the file is compared with PyTorch on the first three images;
        missing ones are drawn.
    batch
        Number of images of a call; default: any.
    size
        Height and width of the images, as in 480x640; default: any.
    lists
        Return the detections of all images one after the other, with the image of each, instead of
        a fixed number of rows per image and the count of those that are detections.
    record
        Also return the proposals and the results of the second stage's cascade.
    required_share
        Share of the detections, in 0..1, that must agree with PyTorch within 0.1 pixels and 0.001
        of the score.

    Returns
    -------
    The certificate.
    """
    from centernet2.builders.loading import load_detector
    from centernet2.export.exporting import ExportOptions, export_detector, require_fit
    from centernet2.export.formats import choose_format, require_packages

    path, format = choose_format(None if output is None else Path(output), format)
    _require_writable(path)
    shape = None if size is None else parse_size(size, "--size")
    options = ExportOptions(batch, shape, lists, record, format, required_share)
    require_fit(options)
    pictures = _first_images(images)
    require_packages(format)
    detector = load_detector(weights, overrides, config=config, device="cpu")
    certificate = export_detector(detector, path, options, images=pictures)
    logger.info("%s is written, with its certificate", path)
    return certificate


def _first_images(images: PathArgument | None) -> "list[Tensor]":
    """Read the images to compare with PyTorch on."""
    from centernet2.data.image import read_image
    from centernet2.export.certificate import COMPARED
    from centernet2.predict.sources import find_images

    return [] if images is None else list(map(read_image, find_images([str(images)])[:COMPARED]))


def _require_writable(path: Path) -> None:
    """Raise ValueError if the file cannot be written, or would replace another one."""
    from centernet2.runtime.exported_model import parts_of
    from centernet2.runtime.verification import certificate_path, reference_path

    writable_file(path, "--output", command="export")
    _require_replaceable(certificate_path(path), [reference_path(path), *parts_of(path)[:-1]])


def _require_replaceable(certificate: Path, others: Sequence[Path]) -> None:
    """Raise ValueError if a file beside the output is of other origin."""
    require_replaceable(certificate, "export", "--output")
    existing = [path for path in others if path.exists()]
    if existing and not certificate.exists():
        raise ValueError(
            f"--output cannot be used: {existing[0]} exists, without {certificate.name}; choose "
            "another one, or move the file away"
        )
