"""Post-training quantization of an ONNX model to int8, by ONNX Runtime's quantizer.

Weights are int8, with a scale for each output channel; activations are uint8, with a range for each
tensor that is measured on images (calibration). The file keeps standard operators: pairs of
QuantizeLinear and DequantizeLinear, which runtimes fuse with the operators between them.
"""

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centernet2.export.precision import inner_parts
from centernet2.models.detector import Detector

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
OPERATORS = (*WITH_WEIGHTS, "Add", "MaxPool", "Relu", "Resize")  # that run in int8
SCOPES = "pkg.torch.onnx.name_scopes"  # metadata of a node: the modules that it belongs to
INPUT = "images"


def quantize(
    model: Any, detector: Detector, images: Iterable[NDArray[np.uint8]], *, root: str = "detector"
) -> tuple[Any, dict[str, Any]]:
    """Quantize the inner parts of a detector.

    Args:
        model: the detector as an ONNX model in memory.
        detector: its modules have the names of the model's nodes, below `root`.
        images: batches [N, 3, H, W] on which the ranges of activations are measured.

    Returns:
        The quantized model, and for the certificate: the number of quantized operators of each
        kind, the names of the weights that stay in float32, and the number of batches.
    """
    import onnx
    import onnxscript.ir as ir
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    source = ir.to_proto(model)
    chosen = list(_inner_nodes(source.graph.node, _module_names(detector, root)))
    names = {node.name for node in chosen}
    weighted = [node for node in source.graph.node if node.op_type in WITH_WEIGHTS]
    calibration = _Calibration(images)
    add_pre_process_metadata(source)  # norms are fused already; without it there is a warning
    with TemporaryDirectory() as folder:
        path, quantized_path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(source, path)
        quantize_static(
            path,
            quantized_path,
            calibration,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_quantize=sorted(names),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        quantized = ir.from_proto(onnx.load(quantized_path))
    for field in ("producer_name", "producer_version", "doc_string"):
        setattr(quantized, field, getattr(model, field))
    quantized.metadata_props.clear()
    quantized.metadata_props.update(model.metadata_props)
    return quantized, {
        "quantized": dict(Counter(node.op_type for node in chosen)),
        "float_weights": [node.input[1] for node in weighted if node.name not in names],
        "calibration_images": calibration.count,
    }


def _module_names(detector: Detector, root: str) -> set[str]:
    """Return the names of the inner parts in a graph."""
    inner = {id(part) for part in inner_parts(detector)}
    return {f"{root}.{name}" for name, module in detector.named_modules() if id(module) in inner}


def _inner_nodes(nodes: Iterable[Any], modules: Collection[str]) -> Iterator[Any]:
    """Yield the nodes inside of modules whose operators run in int8."""
    for node in nodes:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, "[]")
        if node.op_type in OPERATORS and not set(ast.literal_eval(scopes)).isdisjoint(modules):
            yield node


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
