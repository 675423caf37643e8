"""ONNX models in the form that TensorRT's own parser takes.

Each change below replaces what `tensorrt_table.py` says the parser refuses. The model computes the
same.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from centernet2.export.onnx_graph import OnnxGraph, attributes_of, replace_elements
from centernet2.export.tensorrt_table import MAX_TOPK, refusals

SHOWN = 5  # reasons for which a file is refused
# by type and `largest` of a TopK: what comes after all scores, or after all indices
LAST: Mapping[tuple[str | None, int], Any] = {
    ("FLOAT", 1): np.float32(-np.inf),
    ("INT64", 0): np.int64(np.iinfo(np.int64).max),
}


def content_for_tensorrt(content: bytes) -> bytes:
    """Return the content of an ONNX file in the form that TensorRT's parser takes.

    Raises:
        ValueError: the parser would refuse the model.
    """
    import onnx

    model = onnx.load_from_string(content)
    for_tensorrt(model)
    if reasons := refusals(model):
        raise ValueError(f"TensorRT's parser would refuse the file: {'; '.join(reasons[:SHOWN])}")
    changed: bytes = model.SerializeToString()
    return changed


def for_tensorrt(model: Any) -> None:
    """Change an ONNX model (ModelProto) in place so that TensorRT's parser takes it.

    `tensorrt_table.refusals` says what remains.
    """
    _read_as_float(model)
    graph = OnnxGraph(model)
    pooled = _pool_at_all_levels(graph)
    nodes = []
    for node in model.graph.node:
        change = CHANGES.get(node.op_type)
        changed = [node] if change is None else change(node, graph)
        nodes += pooled.get(node.output[0], changed)
    replace_elements(model.graph.node, nodes)
    used = {name for node in nodes for name in node.input}
    weights = [each for each in model.graph.initializer if each.name in used]
    replace_elements(model.graph.initializer, weights)


def _read_as_float(model: Any) -> None:
    """Read an image as float32: images are flipped and resized before they are cast."""
    from onnx import TensorProto, helper

    image, values, nodes = model.graph.input[0], model.graph.value_info, list(model.graph.node)
    readers = [node for node in nodes if image.name in node.input and node.op_type != "Cast"]
    if image.type.tensor_type.elem_type != TensorProto.UINT8 or not readers:
        return
    name = f"{image.name}_float"
    for node in readers:
        replace_elements(node.input, [name if own == image.name else own for own in node.input])
    cast = helper.make_node("Cast", [image.name], [name], to=TensorProto.FLOAT)
    replace_elements(model.graph.node, [cast, *nodes])
    kept = [own for own in values if own.type.tensor_type.elem_type != TensorProto.UINT8]
    replace_elements(values, kept)


def _sort(node: Any, graph: OnnxGraph) -> list[Any]:
    """Sort the results of TopK, whose order does not matter where they are not."""
    _drop_attribute(node, "sorted")  # the default is to sort
    count, dtype = graph.constants.get(node.input[1]), graph.types.get(node.input[0])
    last = LAST.get((dtype, attributes_of(node).get("largest", 1)))
    if count is not None and count.item() >= MAX_TOPK and last is not None:
        return _divide(node, count.item(), last, graph)
    return [node]


def _divide(node: Any, count: int, last: Any, graph: OnnxGraph) -> list[Any]:
    """Replace a TopK by smaller ones, each of the elements that earlier ones left.

    Equal elements keep their order. Taken elements become `last`, which comes after all others.
    """
    from onnx import helper

    (x, _), (values, index), order = node.input, node.output, attributes_of(node)
    axis = order.get("axis", -1)
    taken = graph.add_constant(f"taken_{last.dtype}", last)
    nodes, parts = [], range(0, count, MAX_TOPK - 1)
    for start in parts:
        number = min(MAX_TOPK - 1, count - start)
        k = graph.add_constant(f"topk_{number}", np.array([number]))
        own, own_index, left = f"{values}_{start}", f"{index}_{start}", f"{values}_left_{start}"
        nodes += [
            helper.make_node("TopK", [x, k], [own, own_index], **order),
            helper.make_node("Shape", [own], [f"{own}_shape"]),
            helper.make_node("Expand", [taken, f"{own}_shape"], [f"{own}_taken"]),
            helper.make_node("ScatterElements", [x, own_index, f"{own}_taken"], [left], axis=axis),
        ]
        x = left
    joined = [
        helper.make_node("Concat", [f"{name}_{start}" for start in parts], [name], axis=axis)
        for name in node.output
    ]
    return [*nodes[:-3], *joined]  # nothing takes what the last one leaves


def _scatter(node: Any, graph: OnnxGraph) -> list[Any]:
    """Leave out an attribute that has its default."""
    if attributes_of(node).get("reduction") == b"none":
        _drop_attribute(node, "reduction")
    return [node]


def _compare(node: Any, graph: OnnxGraph) -> list[Any]:
    """Replace a comparison with True, which integer division contains, by its operand."""
    from onnx import helper

    other = graph.constants.get(node.input[1])
    if other is None or other.dtype != bool or other.ndim or not other:
        return [node]
    return [helper.make_node("Identity", node.input[:1], node.output, name=node.name)]


Change = Callable[[Any, OnnxGraph], list[Any]]
CHANGES: Mapping[str, Change] = {"TopK": _sort, "ScatterND": _scatter, "Equal": _compare}


def _pool_at_all_levels(graph: OnnxGraph) -> dict[str, list[Any]]:
    """Pool all RoIs at each level, those of other levels as empty boxes.

    An exported graph pools the RoIs of a level alone: their number depends on values, and may be 0.

    Returns:
        The nodes that take the place of others, by the first output of these.
    """
    changed: dict[str, list[Any]] = {}
    for node in graph.model.graph.node:
        if node.op_type == "ScatterND":
            pooling = graph.producers.get(node.input[2])
            chosen = _chosen_rows(node.input[1], graph)
            if chosen is not None and pooling is not None and pooling.op_type == "RoiAlign":
                changed |= _pool_at_level(chosen, pooling, node, graph)
    return changed


def _pool_at_level(
    chosen: Any, pooling: Any, scatter: Any, graph: OnnxGraph
) -> dict[str, list[Any]]:
    """Replace the choice of a level's RoIs, their pooling, and the scatter of results.

    Args:
        chosen: NonZero, of a mask [R] of RoIs.
        pooling: RoiAlign, of the chosen ones.
        scatter: ScatterND, of the pooled features into those of all RoIs.
    """
    from onnx import helper

    own, boxes, name = chosen.input[0], pooling.input[1], pooling.output[0]
    (count,) = graph.shapes.get(own, [0])
    if count == 0:  # it is not fixed
        return {}
    dtype = "float16" if graph.types.get(boxes) == "FLOAT16" else "float32"
    rows = graph.add_constant(f"all_rows_{count}", np.arange(count)[None])
    no_box = graph.add_constant(f"no_box_{dtype}", np.zeros((1, 1), dtype))
    of_boxes = graph.add_constant("axes_of_boxes", np.array([1]))
    of_cells = graph.add_constant("axes_of_cells", np.array([1, 2, 3]))
    pooling.input[1] = f"{name}_boxes"
    return {
        chosen.output[0]: [helper.make_node("Identity", [rows], chosen.output)],
        name: [
            helper.make_node("Unsqueeze", [own, of_boxes], [f"{name}_own"]),
            helper.make_node("Where", [f"{name}_own", boxes, no_box], [f"{name}_boxes"]),
            pooling,
        ],
        scatter.output[0]: [
            helper.make_node("Unsqueeze", [own, of_cells], [f"{name}_cells"]),
            helper.make_node("Where", [f"{name}_cells", name, scatter.input[0]], scatter.output),
        ],
    }


def _chosen_rows(name: str, graph: OnnxGraph) -> Any:
    """Return the NonZero node behind a (reshaped) value; None: there is none."""
    node = graph.producers.get(name)
    while node is not None and node.op_type in ("Squeeze", "Transpose", "Unsqueeze"):
        node = graph.producers.get(node.input[0])
    return node if node is not None and node.op_type == "NonZero" else None


def _drop_attribute(node: Any, name: str) -> None:
    replace_elements(node.attribute, [each for each in node.attribute if each.name != name])
