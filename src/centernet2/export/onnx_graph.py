"""What is known of the values of an ONNX model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_CONSTANT = 8  # elements; larger initializers are weights


class OnnxGraph:
    """A view of an ONNX ModelProto: constants, types, shapes and producers by name."""

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto, numpy_helper, shape_inference

        self.model = model
        self.constants: dict[str, NDArray[Any]] = {
            each.name: numpy_helper.to_array(each)
            for each in model.graph.initializer
            if np.prod(each.dims) <= MAX_CONSTANT
        }
        graph = shape_inference.infer_shapes(model).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        tensors = {each.name: each.type.tensor_type for each in values}
        types = {each.name: each.data_type for each in graph.initializer}
        types |= {name: each.elem_type for name, each in tensors.items()}
        self.types = {name: TensorProto.DataType.Name(each) for name, each in types.items()}
        self.shapes = {  # dimensions that are not fixed are 0
            name: [each.dim_value for each in tensor.shape.dim] for name, tensor in tensors.items()
        }
        self.producers = {name: node for node in model.graph.node for name in node.output}

    def add_constant(self, name: str, value: Any) -> str:
        """Add an initializer unless there is one of this name, and return the name."""
        from onnx import numpy_helper

        if name not in {each.name for each in self.model.graph.initializer}:
            array = np.ascontiguousarray(value)
            self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def replace_elements(repeated: Any, elements: list[Any]) -> None:
    """Replace the elements of a repeated field."""
    del repeated[:]
    repeated.extend(elements)
