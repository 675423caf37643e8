"""The command `export`: write a detector to a file that other runtimes run."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import (
    ConfigArgument,
    DataPath,
    Flag,
    OptionalData,
    OverridePairs,
    PathArgument,
    WeightsArgument,
)
from centernet2.jobs.benchmark import parse_size
from centernet2.option_groups import FILE, PRECISION
from centernet2.outputs import require_replaceable, writable_file
from centernet2.ranges import at_least, between

if TYPE_CHECKING:
    from torch import Tensor

    from centernet2.data import DetectionDataset
    from centernet2.export.exporting import Check
    from centernet2.models.detector import Detector

RENAMING_BY_KEY = "DATASETS.CLASS_MAP \"('OLD=NEW',)\""  # of data; there is no --class-map
logger = logging.getLogger(__name__)


@Parameter(name="*", group=FILE)
@dataclass(frozen=True)
class FormOptions:
    """What the file takes and returns.

    Parameters
    ----------
    batch
        Number of images of a call; default: any.
    size
        Height and width of the images, as in 480x640; default: any.
    lists
        Return the detections of all images one after the other, with the image of each, instead of
        a fixed number of rows per image and the count of those that are detections.
    record
        Also return the proposals and the results of the second stage's cascade.
    """

    batch: int | None = None
    size: str | None = None
    lists: Flag = False
    record: Flag = False


@Parameter(name="*", group=PRECISION)
@dataclass(frozen=True)
class PrecisionOptions:
    """Number format of weights and convolutions, and what it may cost.

    Parameters
    ----------
    dtype
        fp32; fp16, of half the size; or int8, with weights and activations of 8 bits.
    calibration
        For int8: a data set, folder or pattern of images of the kind that will be detected on. The
        ranges of activations are measured on up to 300 of them.
    data
        Evaluate the detector and the file on the validation split of these data, and refuse a file
        that loses too much AP.
    accepted_loss
        Loss of AP, in percent, that is accepted.
    required_share
        Share of the detections, in 0..1, that must agree with PyTorch within the tolerance of the
        precision; default: 0.99 for fp32, see docs/export.md.
    """

    dtype: Annotated[str, Parameter(name="--precision")] = "fp32"
    calibration: PathArgument | None = None
    data: OptionalData = None
    data_path: DataPath = None
    accepted_loss: float = 1.0
    required_share: float | None = None


DEFAULT_FORM, DEFAULT_PRECISION = FormOptions(), PrecisionOptions()


@checked(batch=at_least(1), required_share=between(0, 1), accepted_loss=at_least(0))
def export(
    *overrides: OverridePairs,
    weights: WeightsArgument,
    output: PathArgument | None = None,
    format: str | None = None,
    config: Annotated[ConfigArgument | None, Parameter(name="--config-file")] = None,
    images: PathArgument | None = None,
    form: FormOptions = DEFAULT_FORM,
    precision: PrecisionOptions = DEFAULT_PRECISION,
) -> dict[str, Any]:
    """Export a detector to ONNX, OpenVINO or PyTorch: uint8 images in, boxes out.

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
        needs --size; tensorrt, an ONNX file for one shape that TensorRT's own parser takes; torch,
        an exported program; or aotinductor, a program compiled for CPUs like that of this machine,
        which needs a C++ compiler. Default: onnx, openvino or torch, as the suffix of --output
        says, else onnx.
    config
        Path or name of the config, for weights files without one.
    images
        Image file, folder or pattern: the file is compared with PyTorch on the first three images;
        missing ones are drawn.

    Returns
    -------
    The certificate.
    """
    from centernet2.builders.detector.loading import load_detector
    from centernet2.export.exporting import ExportOptions, export_detector, require_fit
    from centernet2.export.formats import choose_format, require_packages
    from centernet2.export.graph import GraphOptions

    path, format = choose_format(None if output is None else Path(output), format)
    _require_writable(path)
    size = None if form.size is None else parse_size(form.size, "--size")
    graph = GraphOptions(form.batch, size, form.lists, form.record)
    options = ExportOptions(graph, format, precision.dtype, precision.required_share)
    require_fit(options)
    _require_consistent(precision)
    require_packages(format)
    pictures, calibration = _first_images(images), _calibration_images(precision)
    detector = load_detector(weights, overrides, config=config, device="cpu")
    check = _precision_check(detector, precision, size)
    certificate = export_detector(
        detector, path, options, images=pictures, calibration=calibration, check=check
    )
    logger.info("%s is written, with its certificate", path)
    return certificate


def _require_consistent(options: PrecisionOptions) -> None:
    """Raise ValueError for a precision that is unknown or does not fit other options."""
    from centernet2.export.precision import PRECISIONS

    precision, calibrated = options.dtype, options.calibration is not None
    if precision not in PRECISIONS:
        raise ValueError(f"--precision is '{precision}'; choose one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not calibrated:
        raise ValueError(
            "--precision int8 measures the ranges of activations on images; give --calibration "
            "with a data set or a folder of images of the kind that will be detected on"
        )
    if precision != "int8" and calibrated:
        raise ValueError(
            f"--calibration has no effect with --precision {precision}; leave it out, or choose "
            "int8"
        )
    if options.data is None and options.data_path is not None:
        raise ValueError(
            "--data-path is where named data sets are, but none is named; give one, such as "
            "--data coco_2017"
        )
    if options.data is None and options.accepted_loss != DEFAULT_PRECISION.accepted_loss:
        raise ValueError(
            "--accepted-loss is measured on data with ground truth; give them by --data, or leave "
            "it out"
        )


def _calibration_images(options: PrecisionOptions) -> "Iterator[Tensor]":
    """Find the images for calibration; they are read when they are needed."""
    from centernet2.builders.data.calibration_images import (
        find_calibration_images,
        read_calibration_images,
    )

    if options.calibration is None:
        return iter(())
    return read_calibration_images(find_calibration_images(Path(options.calibration)))


def _precision_check(
    detector: "Detector", options: PrecisionOptions, size: tuple[int, int] | None
) -> "Check":
    """Return a check of the file on the data, if there are data.

    Raises:
        ValueError: the data have other classes, or images of another size than the file takes.
    """
    from centernet2.builders.data.class_matching import match_detector
    from centernet2.builders.data.evaluation_data import find_validation_data
    from centernet2.builders.detector.loading import config_of
    from centernet2.builders.evaluation.precision_check import PrecisionCheck

    if options.data is None:
        return lambda path: {}
    config = config_of(detector.info)
    dataset = find_validation_data(
        options.data, options.data_path, config.datasets, masks=config.model.mask_on
    )
    _require_size(dataset, size)
    matched = match_detector(detector, dataset, renaming=RENAMING_BY_KEY)
    return PrecisionCheck(detector, config, matched, options.accepted_loss)


def _require_size(dataset: "DetectionDataset", size: tuple[int, int] | None) -> None:
    """Raise ValueError for an image of another size than the file takes."""
    if size is None:
        return
    height, width = size
    unfit = (dataset.heights != height) | (dataset.widths != width)
    if unfit.any():
        first = int(unfit.argmax())
        raise ValueError(
            f"--size is {height}x{width}, but --data has images of other sizes, such as "
            f"{dataset.file_name(first)} ({dataset.heights[first]}x{dataset.widths[first]}); "
            "leave out one of the options"
        )


def _first_images(images: PathArgument | None) -> "list[Tensor]":
    """Read the images to compare with PyTorch on."""
    from centernet2.export.certificate import COMPARED
    from centernet2.images.image_files import read_image
    from centernet2.images.stored_image import to_tensor
    from centernet2.predict.sources import find_images

    return (
        []
        if images is None
        else [to_tensor(read_image(path)) for path in find_images([str(images)])[:COMPARED]]
    )


def _require_writable(path: Path) -> None:
    """Raise ValueError if an export cannot be written, or would replace other files."""
    from centernet2.runtime.exported_model import parts_of
    from centernet2.runtime.verification import certificate_path, reference_path

    certificate = certificate_path(path)
    writable_file(path, "--output", command="export")
    require_replaceable(certificate, "export", "--output")
    for other in (reference_path(path), *parts_of(path)[:-1]):  # which bear no mark
        require_replaceable(other, "", "--output")
        if other.exists() and not certificate.exists():
            raise ValueError(
                f"--output cannot be used: {other} exists, without {certificate.name}; choose "
                "another one, or move the file away"
            )
