"""What TensorRT's parser of ONNX takes: operators, data types, restrictions.

The parser's own table is docs/operators.md of onnx/onnx-tensorrt. OPERATORS has those rows that
graphs of this package need, as of TensorRT 10.0 to 10.15.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from centernet2.export.onnx_graph import OnnxGraph, attributes_of

FLOATS = frozenset({"FLOAT", "FLOAT16"})
NUMBERS = FLOATS | {"INT32", "INT64"}
ALL = NUMBERS | {"BOOL"}
# operator -> types of its first input; Where: of its second
OPERATORS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("And", "Not", "Or"), frozenset({"BOOL"})),
    **dict.fromkeys(
        ("Abs", "AveragePool", "Ceil", "Conv", "ConvTranspose", "DeformConv", "Exp", "Floor",
         "Gemm", "InstanceNormalization", "IsInf", "IsNaN", "Log", "MatMul", "MaxPool",
         "NonMaxSuppression", "NonZero", "Reciprocal", "Resize", "RoiAlign", "Round", "Sigmoid",
         "Softmax", "Sqrt"),
        FLOATS,
    ),
    **dict.fromkeys(
        ("Add", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
         "Min", "Mod", "Mul", "Neg", "Pad", "Range", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceSum", "Relu", "ScatterElements", "ScatterND", "Sub", "TopK"),
        NUMBERS,
    ),
    **dict.fromkeys(
        ("Concat", "ConstantOfShape", "Expand", "Gather", "GatherElements", "GatherND", "Identity",
         "Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
         "Where"),
        ALL,
    ),
    "Cast": ALL | {"UINT8"},
}  # fmt: skip
ONLY_INPUTS = ("UINT8", "DOUBLE")  # types of no other value
OPSETS = range(9, 21)  # of TensorRT 10.0; later releases take more
MAX_TOPK = 3840  # K has to be less


def refusals(model: Any) -> list[str]:
    """Say for which reasons TensorRT's parser would refuse an ONNX model (ModelProto).

    Returns:
        Sentences; none if it takes the model.
    """
    graph = OnnxGraph(model)
    free = [value.name for value in model.graph.input if 0 in graph.shapes[value.name]]
    if free:  # from which other reasons follow
        return [f"the input {free[0]} has no fixed shape; export with --batch and --size"]
    (opset,) = [each.version for each in model.opset_import if not each.domain]
    found = [] if opset in OPSETS else [f"opset {opset} is beyond {OPSETS.stop - 1}"]
    for node in model.graph.node:
        found += [f"{node.op_type} {node.name}: {reason}" for reason in _refusals_of(node, graph)]
    return found


def _refusals_of(node: Any, graph: OnnxGraph) -> Iterator[str]:
    if node.op_type not in OPERATORS:
        yield "it is not known whether TensorRT has this operator"
        return
    if node.input:
        own = graph.types.get(node.input[1 if node.op_type == "Where" else 0])
        if own is not None and own not in OPERATORS[node.op_type]:
            yield f"it takes no {own}"
    if unfit := [each for each in map(graph.types.get, node.output) if each in ONLY_INPUTS]:
        yield f"its result is {unfit[0]}, which only an input can be"
    attributes = attributes_of(node)
    if node.op_type == "TopK":
        count = graph.constants.get(node.input[1])
        if count is None or count.item() >= MAX_TOPK:
            number = "is not constant" if count is None else f"is {count.item()}"
            yield f"K {number}; it has to be less than {MAX_TOPK}"
        if not attributes.get("sorted", 1):
            yield "its results are not sorted"
    if node.op_type == "Resize" and attributes.get("antialias"):
        yield "it cannot smooth"
    if node.op_type == "ScatterND" and "reduction" in attributes:
        yield "it has the attribute reduction"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "it returns indices"
    if node.op_type == "DeformConv":
        pads = attributes.get("pads", [])
        if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
            yield "its padding differs between the sides"
