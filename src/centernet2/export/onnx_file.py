"""ONNX models from exported programs, with standard operators only.

PyTorch's exporter translates nearly all operators; `translate` gives it functions for the others.
"""

from typing import Any

import torch
from torch.export import ExportedProgram

from centernet2.outputs import mark_of
from centernet2.runtime.onnx_session import INPUT
from centernet2.runtime.session import METADATA_KEY

OPSET = 20  # DeformConv is wrong up to 18
INPUT_SHAPE = ("batch", 3, "height", "width")  # names of the dimensions that are not fixed
ANY_NUMBER = 2**31 - 1


def translate(program: ExportedProgram, metadata: str) -> Any:
    """Translate the program of a detector to an ONNX model with metadata (JSON).

    The keys of the dictionary that it returns become the names of the outputs.
    """
    translated: Any = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=list(program.call_spec.out_spec.context),
        custom_translation_table={
            torch.ops.aten.sort.stable: _sort,
            torch.ops.centernet2.nms_of_batch.default: _nms_of_batch,
        },
        verbose=False,
    )
    model = translated.model
    _name_dimensions(model.graph.inputs[0])
    model.producer_name = "centernet2"
    model.doc_string = f"A detector, {mark_of('export')} in standard operators"
    model.metadata_props[METADATA_KEY] = metadata
    return model


def without_outputs(model: Any, prefixes: tuple[str, ...]) -> Any:
    """Remove outputs whose names begin so, and what only they need, in place."""
    from onnxscript.ir.passes.common import RemoveUnusedNodesPass

    kept = [output for output in model.graph.outputs if not output.name.startswith(prefixes)]
    model.graph.outputs[:] = kept
    RemoveUnusedNodesPass()(model)
    return model


def content_of(model: Any) -> bytes:
    """Return the content of an ONNX file."""
    import onnxscript.ir as ir

    content: bytes = ir.to_proto(model).SerializeToString()
    return content


def _name_dimensions(value: Any) -> None:
    import onnxscript.ir as ir

    named = zip(value.shape, INPUT_SHAPE, strict=True)
    dimensions: list[Any] = [own if isinstance(own, int) else name for own, name in named]
    value.shape = ir.Shape(dimensions)


def _sort(self: Any, *, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Translate a stable sort: TopK puts the lower index first where values are equal."""
    from onnxscript import opset20

    op: Any = opset20  # whose annotations know no Python numbers and lists
    length = op.Shape(self, start=dim, end=dim + 1)
    return op.TopK(self, length, axis=dim, largest=int(descending), sorted=1)


def _nms_of_batch(
    boxes: Any, scores: Any, labels: Any, iou_threshold: float, num_classes: int
) -> Any:
    """Translate NMS per class, with a row of scores for each class."""
    from onnxscript import BOOL, opset20

    op: Any = opset20  # whose annotations know no Python numbers and lists
    by_class = op.Unsqueeze(scores, [1])  # [N, 1, R]
    if num_classes > 1:
        classes = op.Reshape(op.Range(0, num_classes, 1), [1, -1, 1])
        own = op.Equal(op.Unsqueeze(labels, [1]), classes)  # [N, C, R]
        by_class = op.Where(own, by_class, -1.0)
    selected = op.NonMaxSuppression(boxes, by_class, [ANY_NUMBER], [iou_threshold], [-0.5])
    index = op.Gather(selected, [0, 2], axis=1)  # [S, 2] of image and box
    kept = op.Expand(1, op.Shape(index, start=0, end=1))
    nothing = op.Expand(0, op.Shape(scores))
    return op.Cast(op.ScatterND(nothing, index, kept), to=BOOL.dtype)
