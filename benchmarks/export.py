"""Time of exported detectors, from a uint8 image to its boxes: runtimes x precisions.

python benchmarks/export.py --folder FILES [--config-file NAME] [--size 800 1216] [--weights FILE]
    [--formats onnx xml] [--precisions fp32 fp16 int8] [--threads 2] [--runs 7] [--profile]

The detector is exported to FILES, unless the files are there. Each side is a process of its own,
and all of them run in turn. The ratios compare each, run by run, with PyTorch before
`optimize_for_inference`: "plain" with the kernels of PyTorch and torchvision, as other detectors
run, and "pytorch" with those of this package. One line of JSON for each. Without --weights the
weights are the initial ones: the number of proposals, and so the work, is the same. --profile
prints the operators that take the most time in each file instead.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detector import WARM_UP
from harness import machine, spread
from numpy.typing import NDArray
from sides import Side, scene, serve

import centernet2
from centernet2.builders.detector.loading import place
from centernet2.export.exporting import ExportOptions, metadata_of
from centernet2.export.graph import DetectionGraph
from centernet2.export.half import halve
from centernet2.export.onnx_file import content_of, translate
from centernet2.export.openvino_file import save_openvino
from centernet2.export.precision import PRECISIONS
from centernet2.export.program import export_program, exportable
from centernet2.export.quantization import quantize
from centernet2.files import write_atomic
from centernet2.kernels.dispatch import CHOSEN, KERNELS
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference
from centernet2.runtime.exported_model import ExportedModel

PLAIN, EAGER, OPTIMIZED = "plain", "pytorch", "optimized"
PLAIN_KERNELS = ("torch", "torchvision")
LISTED = 15  # operators of a profile
CPU = torch.device("cpu")


def build(options: argparse.Namespace) -> Detector:
    torch.manual_seed(0)
    model = centernet2.build_model(options.config_file, weights=options.weights, device="cpu")
    return model.eval()


def image_of(options: argparse.Namespace) -> NDArray[np.uint8]:
    """The image [1, 3, H, W] that all sides get."""
    pixels: NDArray[np.uint8] = scene(*options.size, 1)[0][0][None].numpy()
    return pixels


def file_of(options: argparse.Namespace, suffix: str, precision: str) -> Path:
    """Return the path of a file, and write it if it is missing."""
    path = Path(options.folder) / f"{options.config_file}-{precision}.{suffix}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    detector = build(options)
    metadata = json.dumps(metadata_of(detector, ExportOptions(precision=precision)))
    if suffix == "xml":
        source = file_of(options, "onnx", "fp32" if precision == "fp16" else precision)
        save_openvino(source, path, metadata, half_weights=precision == "fp16")
        return path
    if precision == "int8":
        model = read_model(file_of(options, "onnx", "fp32"))
        model, _ = quantize(model, detector, [image_of(options)])
    else:
        inner = exportable(detector)
        graph = DetectionGraph(halve(inner) if precision == "fp16" else inner)
        model = translate(export_program(graph.eval()), metadata)
    write_atomic(path, content_of(model))
    return path


def read_model(path: Path) -> Any:
    import onnx
    import onnxscript.ir as ir

    return ir.from_proto(onnx.load(path))


def work_of(options: argparse.Namespace) -> Callable[[], object]:
    """Return what a side does for one image."""
    image = image_of(options)
    if options.side not in (PLAIN, EAGER, OPTIMIZED):
        exported = ExportedModel(Path(options.side), threads=options.threads)
        return partial(exported.run, image)
    model = build(options)
    if options.side == PLAIN:
        choose_plain_kernels()
    if options.side == OPTIMIZED:
        model = optimize_for_inference(place(model, CPU))
    own = torch.from_numpy(image)

    @torch.inference_mode()
    def infer() -> None:
        model(own)

    return infer


def choose_plain_kernels() -> None:
    """Choose the kernels of PyTorch and torchvision for all operators that have one."""
    for operator, row in KERNELS.items():
        for name in row.keys() & PLAIN_KERNELS:
            CHOSEN[operator, CPU.type, "eager"] = name


def compare(options: argparse.Namespace) -> None:
    files = {
        f"{suffix} {precision}": str(file_of(options, suffix, precision))
        for suffix in options.formats
        for precision in options.precisions
    }
    names = {name: name for name in (PLAIN, EAGER, OPTIMIZED)} | files
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--side"]
    sides = {name: Side([*command, value]) for name, value in names.items()}
    for side in sides.values():
        for _ in range(WARM_UP):
            side.run()
    rounds = [{name: side.run() for name, side in sides.items()} for _ in range(options.runs)]
    for name in sides:
        figure = {
            "benchmark": "export",
            "config": options.config_file,
            "size": options.size,
            "side": name,
            **figures_of(name, "seconds", rounds),
            **figures_of(name, "processor_seconds", rounds),
            "warm_up": WARM_UP,
            "runs": options.runs,
            **machine(),
        }
        print(json.dumps(figure), flush=True)


def figures_of(
    name: str, kind: str, rounds: list[dict[str, dict[str, float]]]
) -> dict[str, dict[str, Any]]:
    """Return the time of a side, and by how much it is faster than others.

    On a busy machine, the time of the processor says more than that of the clock, with one thread:
    threads that wait for each other use it, too.
    """
    bases = (PLAIN, EAGER, OPTIMIZED, f"{name.split()[0]} fp32")
    return {
        kind: spread([each[name][kind] for each in rounds]),
        f"speedup by {kind}": {
            f"over {base}": spread([each[base][kind] / each[name][kind] for each in rounds])
            for base in bases
            if base in rounds[0] and base != name
        },
    }


def profile(options: argparse.Namespace) -> None:
    """Print the share of each kind of operator in the time of each file."""
    for suffix in options.formats:
        for precision in options.precisions:
            path = file_of(options, suffix, precision)
            seconds = PROFILES[suffix](path, image_of(options), options)
            shares = {
                name: round(value / seconds.total(), 3)  # type: ignore[operator]
                for name, value in seconds.most_common(LISTED)
            }
            print(json.dumps({"benchmark": "export profile", "file": path.name, "shares": shares}))


def profile_onnx(
    path: Path, image: NDArray[np.uint8], options: argparse.Namespace
) -> "Counter[str]":
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.enable_profiling = True
    settings.profile_file_prefix = str(path.with_suffix(""))
    session = onnxruntime.InferenceSession(path, settings)
    for _ in range(WARM_UP + 1):
        session.run(None, {"images": image})
    seconds: Counter[str] = Counter()
    record = Path(session.end_profiling())
    events = json.loads(record.read_text())
    record.unlink()
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            seconds[event["args"]["op_name"]] += event["dur"]
    return seconds


def profile_openvino(
    path: Path, image: NDArray[np.uint8], options: argparse.Namespace
) -> "Counter[str]":
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": options.threads,
        "PERF_COUNT": True,
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    for _ in range(WARM_UP + 1):
        request.infer([image])
    seconds: Counter[str] = Counter()
    for each in request.profiling_info:
        seconds[f"{each.node_type} {each.exec_type}"] += each.real_time.total_seconds()
    return seconds


PROFILES = {"onnx": profile_onnx, "xml": profile_openvino}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, help="of the exported files")
    parser.add_argument("--config-file", default="CenterNet2_R50_1x")
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1216], help="height and width")
    parser.add_argument("--weights")
    parser.add_argument("--formats", nargs="+", choices=["onnx", "xml"], default=["onnx", "xml"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.side:
        if options.side != PLAIN:
            os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does
        serve(work_of(options), CPU)
    elif options.profile:
        profile(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
