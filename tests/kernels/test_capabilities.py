"""Names of devices, and the check that torch.compile works on them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from centernet2.kernels.capabilities import device_name, is_bf16_fast, require_compiler

CPU = torch.device("cpu")


def test_device_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.backends.cpu.get_cpu_capability() in device_name(CPU)
    module = SimpleNamespace(get_device_name=lambda device: f"A card {device.index}")
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert device_name(torch.device("cuda:1")) == "A card 1"
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace())
    assert device_name(torch.device("mps")) == "mps"


def test_cpu_without_onednn_has_no_fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch then lacks the operator that knows about the instructions."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert not is_bf16_fast(CPU)


def test_missing_compiler_is_reported() -> None:
    program = (
        "import torch; from centernet2.kernels import require_compiler; "
        "require_compiler(torch.device('cpu'))"
    )
    environment = {**os.environ, "CXX": "/nonexistent", "PATH": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert "ValueError: torch.compile does not work on cpu" in done.stderr
    assert "g++" in done.stderr and "leave compile out" in done.stderr


def test_working_compiler_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    require_compiler(CPU)
