"""Where the nodes of an exported file run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from centernet2.runtime.exported_model import require_exported
from centernet2.runtime.onnx_session import place_onnx_nodes
from centernet2.runtime.openvino_session import place_openvino_nodes
from centernet2.runtime.session import Placement


def place_nodes(path: Path, providers: Sequence[str] = ()) -> Placement:
    """Find where the nodes of an exported file would run.

    Args:
        providers: execution providers of ONNX Runtime or devices of OpenVINO, the preferred one
            first; empty: all that this onnxruntime has, or the CPU of OpenVINO.

    Raises:
        ValueError: the file, the runtime or a provider cannot be used.
    """
    require_exported(path)
    if path.suffix == ".pt2":
        raise ValueError(f"PyTorch runs all of {path} on one device; only other runtimes share it")
    place = place_openvino_nodes if path.suffix == ".xml" else place_onnx_nodes
    return place(path, providers)


def describe_placement(path: Path, placement: Placement) -> Iterator[str]:
    """Say where the nodes run, and which operators the preferred provider leaves."""
    counts = {name: own.total() for name, own in placement.operators.items()}
    shares = ", ".join(f"{count} on {name}" for name, count in counts.items())
    yield f"{'runtime':13} {placement.runtime}: {', '.join(placement.available)}"
    yield f"{'nodes':13} {sum(counts.values())} in {path}: {shares}"
    _, *others = placement.operators.items()
    left = [f"{_listed(operators)} ({name})" for name, operators in others if operators]
    yield f"{'fall back':13} {'; '.join(left) or 'none'}"


def _listed(operators: Counter[str]) -> str:
    return ", ".join(f"{operator} {count}" for operator, count in operators.most_common())
