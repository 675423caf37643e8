"""Export a detector to a file, which is compared with PyTorch before it appears."""

import json
import logging
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from torch import Tensor

from centernet2.export.certificate import as_batch, batches_of, call_detector, compare_stages
from centernet2.export.graph import ANY_IMAGES, RECORDED, DetectionGraph, GraphOptions
from centernet2.export.half import halve
from centernet2.export.memory import require_memory
from centernet2.export.model_api import model_info
from centernet2.export.onnx_file import INPUT_SHAPE, OPSET, content_of, translate, without_outputs
from centernet2.export.openvino_file import save_openvino
from centernet2.export.precision import PRECISIONS, Bar
from centernet2.export.program import export_program, exportable
from centernet2.export.quantization import quantize
from centernet2.export.tensorrt_form import content_for_tensorrt
from centernet2.export.torch_file import save_program
from centernet2.files import open_atomic, write_json
from centernet2.models.detector import Detector
from centernet2.outputs import json_mark
from centernet2.runtime.agreement import Agreement
from centernet2.runtime.exported_model import ExportedModel, parts_of
from centernet2.runtime.verification import (
    agreement_of,
    agreement_record,
    certificate_path,
    hash_of,
    pack_calls,
    reference_path,
    require_detections,
    require_share,
)
from centernet2.versions import installed_versions

PACKAGES = (
    "centernet2", "torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "openvino",
)  # fmt: skip
PROGRAMS = ("torch", "aotinductor")  # formats of PyTorch, which always return their record
ADVICE = (
    "; compare it by --images on images of the kind that will be detected on, or accept a smaller "
    "share by --required-share"
)
OWN_IMAGES = (
    "name images with objects that it detects, as in --images photos/, or leave out the comparison "
    "by --required-share 0"
)
Check: TypeAlias = Callable[[Path], dict[str, Any]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how near to PyTorch it must be."""

    graph: GraphOptions = ANY_IMAGES
    format: str = "onnx"  # of FORMATS
    precision: str = "fp32"  # of PRECISIONS
    required_share: float | None = None  # of the detections; None: that of the precision


def require_fit(options: ExportOptions) -> None:
    """Raise ValueError for options that contradict each other."""
    graph = options.graph
    if options.precision == "int8" and options.format in (*PROGRAMS, "tensorrt"):
        raise ValueError(
            f"--precision int8 is for ONNX and OpenVINO, not for --format {options.format}"
        )
    if options.format == "tensorrt" and (not graph.size or not graph.batch or graph.lists):
        raise ValueError(
            "--format tensorrt is for one shape of input and output; give --batch 1 and the height "
            "and width of the images, as in --size 480x640, and leave out --lists"
        )
    if options.format == "aotinductor" and graph.size is None:
        raise ValueError(
            "--format aotinductor compiles for one size of images; give their height and width, as "
            "in --size 480x640"
        )
    if options.format == "model-api":
        given = {"--lists": graph.lists, "--record": graph.record}
        if unfit := [name for name, is_given in given.items() if is_given]:
            raise ValueError(f"--format model-api has outputs of its own; leave out {unfit[0]}")
        if graph.size is None or graph.batch != 1:
            raise ValueError(
                "--format model-api takes one image of a fixed size at a time; give --batch 1 and "
                "its height and width, as in --size 480x640"
            )


def export_detector(
    detector: Detector,
    path: Path,
    options: ExportOptions = ExportOptions(),
    *,
    images: Sequence[Tensor] = (),
    calibration: Iterable[Tensor] = (),
    check: Check = lambda path: {},
) -> dict[str, Any]:
    """Export a detector to a file in one of FORMATS, with its certificate beside it.

    Args:
        detector: in evaluation mode, not optimized.
        images: uint8 [3, H, W] RGB, up to three on which the file is compared with PyTorch; those
            that are missing are drawn.
        calibration: images on which the ranges of activations are measured, for int8.
        check: refuses the file by a ValueError, or returns facts for the certificate.

    Returns:
        The certificate.

    Raises:
        ValueError: too few detections agree, or there is too little memory; nothing is written.
    """
    require_memory(detector.info.test_size, options.graph)
    bar = _bar(options)
    batches = batches_of(images, options.graph)
    calls = [call_detector(detector, each) for each in batches]
    advice = OWN_IMAGES if images else f"they are drawn, as no others are given: {OWN_IMAGES}"
    require_detections(calls, bar.share, f"{path} is not written", advice)
    graph = _graph(exportable(detector), options)
    metadata = json.dumps(metadata_of(detector, options))
    model = _translate(detector, graph, metadata, options)
    model, quantized = _quantize(model, detector, calibration, options)
    logger.info("comparing the file with PyTorch")
    with TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        _write(model, temporary, metadata, options)
        run = ExportedModel(temporary).run
        outputs = [run(each.numpy()) for each in batches]
        stages = compare_stages(graph, outputs, batches, bar.tolerance)
        if not options.graph.record and options.format not in PROGRAMS:
            _write(without_outputs(model, RECORDED), temporary, metadata, options)
        exported = ExportedModel(temporary)
        agreement = agreement_of(exported, calls, bar.tolerance)
        compared = _compared(agreement, stages, bar, path)
        reference_path(temporary).write_bytes(pack_calls(calls))
        certificate = {
            **_identity(temporary),
            "precision": options.precision,
            **quantized,
            **compared,
            "images": [list(each.shape) for each in batches],
            "drawn_images": max(0, len(batches) - len(images)),
            **check(temporary),
            **_environment(exported),
        }
        write_json(certificate_path(temporary), certificate, indent=2)
        _publish(temporary, path)
    return certificate


def _bar(options: ExportOptions) -> Bar:
    """Return the bar of a precision, with the share that the options require."""
    bar, share = PRECISIONS[options.precision], options.required_share
    return bar if share is None else bar._replace(share=share)


def _identity(path: Path) -> dict[str, Any]:
    """Return what tells an exported file and its reference from others."""
    hashes = {"sha256": hash_of(path), "reference_sha256": hash_of(reference_path(path))}
    return {**json_mark("export"), "file": path.name, **hashes}


def _environment(exported: ExportedModel) -> dict[str, Any]:
    """Return the runtime, the versions of the packages and the machine."""
    return {
        "runtime": exported.session.description,
        "versions": installed_versions(PACKAGES),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def _compared(
    agreement: Agreement, stages: Mapping[str, Agreement], bar: Bar, path: Path
) -> dict[str, Any]:
    """Describe a comparison for a certificate; ValueError if too few detections agree."""
    parts_at = next((name for name, each in stages.items() if each.share < bar.share), None)
    place = "" if parts_at is None else f" (they part at: {parts_at})"
    require_share(agreement, bar.share, f"{path} is not written{place}", ADVICE)
    return {
        "required_share": bar.share,
        "tolerance": bar.tolerance._asdict(),
        **agreement_record(agreement),
        "stages": {name: agreement_record(each) for name, each in stages.items()},
        "parts_at": parts_at,
    }


def _publish(temporary: Path, path: Path) -> None:
    """Copy an exported file and those beside it, all or none."""
    with ExitStack() as stack:  # the file, opened first, appears last: it has a certificate then
        for source, target in zip(_files_of(temporary), _files_of(path), strict=True):
            copy = stack.enter_context(open_atomic(target))
            copy.write(source.read_bytes())
            copy.flush()


def _files_of(path: Path) -> list[Path]:
    """Return an exported file, its parts, its certificate and `verify`'s reference."""
    return [*reversed(parts_of(path)), certificate_path(path), reference_path(path)]


def _graph(detector: Detector, options: ExportOptions) -> DetectionGraph:
    recorded, model_api = replace(options.graph, record=True), options.format == "model-api"
    return DetectionGraph(detector, recorded, model_api=model_api).eval()


def _translate(
    detector: Detector, graph: DetectionGraph, metadata: str, options: ExportOptions
) -> Any:
    """Return the graph as a program or an ONNX model, in float32 or half precision.

    OpenVINO keeps its weights in half precision when the file is written.
    """
    logger.info("tracing the detector, which takes minutes")
    if options.precision == "fp16" and options.format not in ("openvino", "model-api"):
        graph = _graph(halve(exportable(detector)), options)
    program = export_program(graph)
    if options.format in PROGRAMS:
        return program
    return translate(program, metadata)


def _quantize(
    model: Any, detector: Detector, images: Iterable[Tensor], options: ExportOptions
) -> tuple[Any, dict[str, Any]]:
    """Quantize a model for int8, and return what the certificate says about it."""
    if options.precision != "int8":
        return model, {}
    count, size = options.graph.batch or 1, options.graph.size
    batches = (as_batch(image, count, size) for image in images)
    return quantize(model, detector, (batch.numpy() for batch in batches))


def _write(model: Any, path: Path, metadata: str, options: ExportOptions) -> None:
    """Write a program or an ONNX model in the format that the suffix of a path names."""
    if options.format in PROGRAMS:
        return save_program(model, path, metadata, compile=options.format == "aotinductor")
    onnx_path = path.with_suffix(".onnx")
    content = content_of(model)
    onnx_path.write_bytes(
        content_for_tensorrt(content) if options.format == "tensorrt" else content
    )
    if path.suffix == ".xml":
        save_openvino(onnx_path, path, metadata, half_weights=options.precision == "fp16")


def metadata_of(detector: Detector, options: ExportOptions) -> dict[str, Any]:
    """Return what a runtime needs to know about a detector."""
    info = detector.info
    is_recorded = options.graph.record or options.format in PROGRAMS
    fixed = (options.graph.batch, None, *(options.graph.size or (None, None)))
    return {
        "input_shape": [own or name for own, name in zip(fixed, INPUT_SHAPE, strict=True)],
        "rules": _rules(detector) if is_recorded else None,
        "model_info": model_info(detector) if options.format == "model-api" else {},
        "class_names": info.class_names,
        "num_classes": detector.num_classes,
        "score_thresholds": info.score_thresholds,
        "calibration": None if info.calibration is None else asdict(info.calibration),
        "channel_order": "RGB",
        "test_size": asdict(info.test_size),
        "config": info.config_name,
        "masks": detector.predicts_masks,
        "precision": options.precision,
        "opset": OPSET,
        "versions": installed_versions(PACKAGES),
    }


def _rules(detector: Detector) -> dict[str, Any]:
    """Return the options that choose proposals and detections, for explanations."""
    first, heads = detector.proposal_generator, detector.roi_heads
    strides = first.decoder.strides
    return {
        "level_names": first.in_features or [str(level) for level in range(len(strides))],
        "strides": strides,
        "decoder": asdict(first.decoder.options),
        "selection": None if heads is None else asdict(heads.selection.options),
    }
