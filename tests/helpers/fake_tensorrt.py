"""A TensorRT whose engines run by ONNX Runtime on main memory, for tests without a GPU."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Engine:
    """An engine and its context: a session with buffers at given addresses."""

    def __init__(self, plan: bytes) -> None:
        import onnx
        import onnxruntime

        self.session = onnxruntime.InferenceSession(plan)
        graph = onnx.load_from_string(plan).graph
        self.shapes = {
            value.name: (
                [each.dim_value for each in value.type.tensor_type.shape.dim],
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            )
            for value in (*graph.input, *graph.output)
        }
        self.num_io_tensors = len(self.shapes)
        self.addresses: dict[str, int] = {}

    def create_execution_context(self) -> "Engine":
        return self

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_shape(self, name: str) -> list[int]:
        return self.shapes[name][0]

    def get_tensor_dtype(self, name: str) -> np.dtype[Any]:
        return self.shapes[name][1]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        names = [output.name for output in self.session.get_outputs()]
        results = self.session.run(names, {"images": self._buffer("images")})
        for name, result in zip(names, results, strict=True):
            self._buffer(name)[:] = result
        return True

    def _buffer(self, name: str) -> NDArray[Any]:
        shape, dtype = self.shapes[name]
        size = int(np.prod(shape)) * dtype.itemsize
        content = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(content, dtype).reshape(shape)


class Parser:
    """A parser that keeps a model as it is, unless it names errors."""

    errors: tuple[str, ...] = ()

    def __init__(self, network: SimpleNamespace, logger: Any) -> None:
        self.network = network
        self.num_errors = len(self.errors)

    def parse(self, content: bytes) -> bool:
        self.network.content = content
        return not self.errors

    def get_error(self, index: int) -> str:
        return self.errors[index]


class Logger:
    """A logger that writes nothing."""

    WARNING = 1

    def __init__(self, level: int) -> None:
        self.level = level


def fake_tensorrt() -> Any:
    """Return the parts of the module `tensorrt` that the example uses."""
    config = SimpleNamespace(clear_flag=lambda flag: None)
    builder = SimpleNamespace(
        create_network=lambda flags: SimpleNamespace(),
        create_builder_config=lambda: config,
        build_serialized_network=lambda network, config: network.content,
    )
    return SimpleNamespace(
        __version__="99", Logger=Logger, Builder=lambda logger: builder,
        BuilderFlag=SimpleNamespace(TF32=0),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1), OnnxParser=Parser,
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=Engine),
        init_libnvinfer_plugins=lambda logger, namespace: True, nptype=lambda dtype: dtype,
    )  # fmt: skip
