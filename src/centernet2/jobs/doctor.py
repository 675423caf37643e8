"""The command `doctor`: describe this machine, or where an exported file runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from centernet2.arguments import checked
from centernet2.jobs import PathArgument, ProvidersArgument
from centernet2.option_groups import DEVICE

STEP_CONFIG = "CenterNet2_R18_small"  # config of the training step that is timed


@checked()
def doctor(
    file: PathArgument | None = None,
    *,
    providers: ProvidersArgument = (),
    device: Annotated[str | None, Parameter(group=DEVICE)] = None,
) -> list[str]:
    """Describe this machine: versions, devices, kernels, time of a training step.

    For an exported file: which execution provider would run each of its nodes, without PyTorch.

    Parameters
    ----------
    file
        An exported file.
    providers
        Execution providers of ONNX Runtime, the preferred one first, such as
        CUDAExecutionProvider; or a device of OpenVINO, such as GPU; default: all that onnxruntime
        has, or the CPU of OpenVINO.
    device
        cuda, npu, xpu, mps or cpu; default: the best one available.

    Returns
    -------
    Lines of text.
    """
    if file is not None:
        return _describe_file(Path(file), providers, device)
    if providers:
        raise ValueError("--providers is of an exported file; name one: centernet2 doctor FILE")
    return _describe_machine(device)


def _describe_file(path: Path, providers: Sequence[str], device: str | None) -> list[str]:
    from centernet2.runtime.placement import describe_placement, place_nodes

    if device is not None:
        raise ValueError(
            f"--device cannot be applied to {path}, an exported file; give --providers"
        )
    return list(describe_placement(path, place_nodes(path, providers)))


def _describe_machine(device: str | None) -> list[str]:
    import torch

    from centernet2.builders.detector.network import build_detector
    from centernet2.config import load_config
    from centernet2.devices import choose_device
    from centernet2.kernels.dispatch import describe_kernels
    from centernet2.profiling.machine import describe_devices, describe_versions, time_training_step
    from centernet2.threads import describe_threads

    chosen = choose_device(device)
    reason = "no: PyTorch synchronizes batch statistics on accelerators only"
    torch.manual_seed(0)
    model = build_detector(load_config(STEP_CONFIG)).to(chosen).train()
    return [
        *describe_versions(),
        *describe_devices(chosen),
        f"threads       {describe_threads()}",
        *describe_kernels(chosen),
        f"sync bn       {reason if chosen.type == 'cpu' else 'native'}",
        f"step          {time_training_step(model, chosen)}: {STEP_CONFIG}",
    ]
