"""The lines of `centernet2 doctor`."""

import pytest
import torch

from centernet2.jobs.doctor import doctor
from centernet2.kernels.dispatch import describe_kernels


def test_doctor_describes_the_cpu() -> None:
    lines = {line[:13].strip(): line for line in doctor(device="cpu")}
    expected = "python, torch, torchvision, devices, distributed, threads, sync bn, step"
    assert set(expected.split(", ")) <= set(lines)
    assert set(describe_kernels(torch.device("cpu"))) <= set(lines.values())
    assert "used: cpu" in lines["devices"] and lines["distributed"].endswith("for cpu: gloo")
    assert "losses finite" in lines["step"]


def test_missing_device_is_named() -> None:
    with pytest.raises(ValueError, match="device 'cuda:9' is not available; available: cpu"):
        doctor(device="cuda:9")
