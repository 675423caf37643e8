"""Post-training quantization of an ONNX model to int8, by ONNX Runtime.

Weights are int8, with a scale for each output channel; activations are uint8, with a range for each
tensor that is measured on images (calibration). The file keeps standard operators: pairs of
QuantizeLinear and DequantizeLinear, which runtimes fuse with the operators between them.
"""

import ast
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from centernet2.export.precision import inner_parts, sampling_layers
from centernet2.models.detector import Detector
from centernet2.runtime.onnx_session import INPUT

OPERATORS = ("Add", "Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Resize")  # that run in int8
WITH_WEIGHTS = ("Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul")
SCOPES = "pkg.torch.onnx.name_scopes"  # metadata of a node: the modules that it belongs to
ROOT = "detector"  # name of the detector in a DetectionGraph


def quantize(
    model: Any, detector: Detector, images: Iterable[NDArray[np.uint8]]
) -> tuple[Any, dict[str, Any]]:
    """Quantize the inner parts of a detector.

    Args:
        model: the graph of the detector as an ONNX model in memory.
        detector: its modules have the names of the model's nodes, below ROOT.
        images: batches [N, 3, H, W] on which the ranges of activations are measured.

    Returns:
        The quantized model, and for the certificate: the number of quantized operators of each
        kind, the layers that stay in float32, and the number of batches.
    """
    import onnxscript.ir as ir

    source = ir.to_proto(model)
    inner, sampling = (
        _names(detector, parts(detector)) for parts in (inner_parts, sampling_layers)
    )
    chosen = {
        node.name: node.op_type
        for node in source.graph.node
        if node.op_type in OPERATORS
        and not inner.isdisjoint(_scopes(node))
        and sampling.isdisjoint(_scopes(node))
    }
    left = [node for node in source.graph.node if node.op_type in WITH_WEIGHTS]
    layers = {_layer(node) for node in left if node.name not in chosen}
    calibration = _Calibration(images)
    quantized = ir.from_proto(_run_quantizer(source, sorted(chosen), calibration))
    for field in ("producer_name", "producer_version", "doc_string"):
        setattr(quantized, field, getattr(model, field))
    quantized.metadata_props.clear()
    quantized.metadata_props.update(model.metadata_props)
    return quantized, {
        "quantized": dict(Counter(chosen.values())),
        "float_layers": sorted(filter(None, layers)),  # the resizing of images is in no layer
        "calibration_images": calibration.count,
    }


def _run_quantizer(source: Any, nodes: Sequence[str], calibration: "_Calibration") -> Any:
    """Return an ONNX model with these nodes quantized."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(source)  # norms are fused already; without it there is a warning
    with TemporaryDirectory() as folder, _only_warnings():
        path, quantized_path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(source, path)
        quantize_static(
            path,
            quantized_path,
            calibration,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(quantized_path)


@contextmanager
def _only_warnings() -> Iterator[None]:
    """Hide what the quantizer logs about each bias; it logs in no name."""
    root = logging.getLogger()

    def is_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    root.addFilter(is_warning)
    try:
        yield
    finally:
        root.removeFilter(is_warning)


def _names(detector: Detector, modules: Iterable[nn.Module]) -> set[str]:
    """Return the names of modules of a detector in a graph."""
    wanted = {id(module) for module in modules}
    return {f"{ROOT}.{name}" for name, module in detector.named_modules() if id(module) in wanted}


def _scopes(node: Any) -> list[str]:
    """Return the names of the modules that hold a node, the operator's name last."""
    texts = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    scopes: list[str] = ast.literal_eval(texts[0]) if texts else []
    return scopes


def _layer(node: Any) -> str:
    """Return the name of the module that a node is computed by."""
    scopes = _scopes(node)
    return scopes[-2] if len(scopes) > 1 else str(node.name)


class _Calibration:
    """Batches of images in the form that the quantizer asks for."""

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self._images = iter(images)
        self.count = 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        images = next(self._images, None)
        if images is None:
            return None
        self.count += 1
        return {INPUT: images}
