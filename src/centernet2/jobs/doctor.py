"""The command `doctor`: describe this machine."""

from centernet2.arguments import checked

STEP_CONFIG = "CenterNet2_R18_small"  # config of the training step that is timed


@checked()
def doctor(*, device: str | None = None) -> list[str]:
    """Describe this machine: versions, devices, kernels, time of a training step.

    Parameters
    ----------
    device
        cuda, npu, xpu, mps or cpu; default: the best one available.

    Returns
    -------
    Lines of text.
    """
    import torch

    from centernet2.builders.network import build_detector
    from centernet2.config import load_config
    from centernet2.devices import choose_device
    from centernet2.kernels.dispatch import describe_kernels
    from centernet2.profiling.machine import (
        describe_devices,
        describe_versions,
        time_training_step,
    )

    chosen = choose_device(device)
    reason = "no: PyTorch synchronizes batch statistics on accelerators only"
    torch.manual_seed(0)
    model = build_detector(load_config(STEP_CONFIG)).to(chosen).train()
    return [
        *describe_versions(),
        *describe_devices(chosen),
        *describe_kernels(chosen),
        f"sync bn       {reason if chosen.type == 'cpu' else 'native'}",
        f"step          {time_training_step(model, chosen)}: {STEP_CONFIG}",
    ]
