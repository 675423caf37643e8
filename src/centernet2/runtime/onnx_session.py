"""A session of ONNX Runtime."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from centernet2.runtime.session import METADATA_KEY, Arrays, Placement, import_runtime

CPU = "CPUExecutionProvider"
REMOTE = "AzureExecutionProvider"  # takes only nodes that are made for it
INPUT = "images"
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
PACKAGE = ("onnxruntime", "centernet2[export]")


class OnnxSession:
    """An ONNX file that is ready to run.

    Args:
        providers: execution providers, the preferred one first; empty: the CPU's.
        threads: of an operator; None: one for each core.
    """

    def __init__(self, path: Path, providers: Sequence[str], *, threads: int | None = None) -> None:
        runtime = import_runtime(*PACKAGE)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = _open(runtime, path, providers, options)
        if left_out := [name for name in providers if name not in self.session.get_providers()]:
            raise ValueError(  # else onnxruntime goes on without it
                f"onnxruntime cannot start {left_out[0]} on this machine; its message above says "
                "what is missing. Install that, or leave the provider out, as by --device cpu"
            )
        self.names = [output.name for output in self.session.get_outputs()]
        self.metadata = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.description = f"onnxruntime {runtime.__version__}, {self.session.get_providers()[0]}"

    def run(self, images: NDArray[Any]) -> Arrays:
        """Return the outputs for a batch of images, by name."""
        outputs = self.session.run(self.names, {INPUT: images})
        return dict(zip(self.names, outputs, strict=True))


def place_onnx_nodes(path: Path, providers: Sequence[str]) -> Placement:
    """Find the execution provider of each node of a file."""
    runtime = import_runtime(*PACKAGE)
    available = [name for name in runtime.get_available_providers() if name != REMOTE]
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = providers or available
    session = _open(runtime, path, providers, options)
    # also of those whose libraries are missing, for which onnxruntime logs the reason
    operators: dict[str, Counter[str]] = {name: Counter() for name in (*providers, CPU)}
    for part in session.get_provider_graph_assignment_info():
        operators[part.ep_name].update(node.op_type for node in part.get_nodes())
    return Placement(f"onnxruntime {runtime.__version__}", available, operators)


def _open(runtime: Any, path: Path, providers: Sequence[str], options: Any) -> Any:
    """Open a session with these execution providers, or the CPU's."""
    available = runtime.get_available_providers()
    if missing := [name for name in providers if name not in available]:
        raise ValueError(
            f"this onnxruntime has no execution provider {missing[0]}; it has "
            f"{', '.join(available)}"
        )
    chosen = [*providers, *([] if CPU in providers else [CPU])]
    content = path.read_bytes()
    # of weights that another program has moved to files beside it
    options.add_session_config_entry(EXTERNAL_FOLDER, str(path.absolute().parent))
    try:
        return runtime.InferenceSession(content, options, providers=chosen)
    except Exception as error:  # the errors of ONNX Runtime have no class of their own
        raise ValueError(
            f"{path} cannot be opened by onnxruntime {runtime.__version__}: it is damaged, or "
            f"needs a newer onnxruntime ({' '.join(str(error).split())})"
        ) from error
