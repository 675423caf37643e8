"""Build a TensorRT engine from an exported file, compare it with PyTorch, and measure it.

    pip install "centernet2[export]" tensorrt
    centernet2 export --weights runs/my_model --format tensorrt --batch 1 --size 800x1216
    python examples/tensorrt/engine.py model.onnx

It needs a GPU of NVIDIA and a PyTorch with CUDA. It writes model.engine, and prints a line of JSON.
Exit code 2: TensorRT cannot take the file, or too few detections agree; messages say why.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorrt as trt
import torch

from centernet2.export.tensorrt_form import content_for_tensorrt
from centernet2.runtime.agreement import Tolerance
from centernet2.runtime.exported_model import split_images
from centernet2.runtime.session import Arrays
from centernet2.runtime.verification import (
    agreement_of,
    agreement_record,
    read_calls,
    read_certificate,
    reference_path,
    require_share,
)

DEVICE = "cuda"
WARM_UP = 10  # runs
LOGGER = trt.Logger(trt.Logger.WARNING)


def build_engine(path: Path) -> bytes:
    """Return the engine of an ONNX file, in the precision of the file."""
    content = content_for_tensorrt(path.read_bytes())
    trt.init_libnvinfer_plugins(LOGGER, "")  # RoiAlign is one of them
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(content):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise ValueError(f"TensorRT's parser has refused {path}: " + "; ".join(errors))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # which rounds to 10 bits
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError(f"TensorRT cannot build an engine from {path}; its log says why")
    return bytes(plan)


class Engine:
    """An engine that is ready to run, with a buffer on the GPU for each input and output."""

    def __init__(self, plan: bytes) -> None:
        self.engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
        self.context = self.engine.create_execution_context()
        self.buffers: dict[str, torch.Tensor] = {}
        for i in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(i)
            shape = tuple(self.engine.get_tensor_shape(name))
            host = np.zeros(shape, trt.nptype(self.engine.get_tensor_dtype(name)))
            self.buffers[name] = torch.from_numpy(host).to(DEVICE)
            self.context.set_tensor_address(name, self.buffers[name].data_ptr())

    def execute(self) -> None:
        """Start a run on the buffers."""
        if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError("TensorRT has failed; its log says why")

    def run(self, images: np.ndarray[Any, Any]) -> Arrays:
        """Return the outputs for images [N, 3, H, W], with the copies to the GPU and back."""
        self.buffers["images"].copy_(torch.from_numpy(images))
        self.execute()
        return {name: own.cpu().numpy() for name, own in self.buffers.items() if name != "images"}

    def detect(self, images: np.ndarray[Any, Any]) -> list[Arrays]:
        """Return the detections of each image."""
        return split_images(self.run(images), len(images))


def measure(work: Any, runs: int) -> dict[str, float]:
    """Return the milliseconds of a function: median, lowest and highest."""
    times = []
    for k in range(WARM_UP + runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        if k >= WARM_UP:
            times.append(start.elapsed_time(end))
    return {"median": median(times), "lowest": min(times), "highest": max(times)}


def main() -> None:
    """Build, compare, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the .onnx file, with its certificate beside it")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise ValueError("PyTorch sees no GPU of NVIDIA")
    calls = read_calls(reference_path(options.file))
    certificate = read_certificate(options.file)
    plan = build_engine(options.file)
    engine = Engine(plan)
    agreement = agreement_of(engine, calls, Tolerance(**certificate["tolerance"]))
    runtime = f"tensorrt {trt.__version__}, {torch.cuda.get_device_name()}"
    require_share(agreement, certificate["required_share"], f"{options.file} with {runtime}")
    options.file.with_suffix(".engine").write_bytes(plan)
    images = calls[0].images
    result = {
        "runtime": runtime,
        "input": list(images.shape),
        **agreement_record(agreement),
        "milliseconds": measure(engine.execute, options.runs),
        "milliseconds_with_copies": measure(lambda: engine.run(images), options.runs),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
