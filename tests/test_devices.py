import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from centernet2 import devices
from centernet2.devices import (
    autocast,
    choose_device,
    choose_precision,
    create_accelerator,
    device_name,
    grad_scaler,
    keep_freed_memory,
    peak_memory,
    require_compiler,
    reset_peak_memory,
    return_freed_memory,
    synchronize,
)

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, name: str | None, count: int = 2) -> None:
    device = None if name is None else torch.device(name)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available=False: device
    )
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_the_accelerator_is_taken_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pretend(monkeypatch, kind)
    assert choose_device(None) == torch.device(kind)
    assert choose_device(f"{kind}:1") == torch.device(f"{kind}:1")
    assert choose_device("cpu") == CPU


def test_the_cpu_is_taken_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None)
    assert choose_device(None) == CPU


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "meta", "cpu:3"])
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend(monkeypatch, None)
    with pytest.raises(ValueError, match=f"device '{name}' is not there; present: cpu$"):
        choose_device(name)


def test_an_index_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda", count=2)
    with pytest.raises(ValueError, match="'cuda:2' is not there; present: cpu, cuda:0, cuda:1"):
        choose_device("cuda:2")


def test_a_name_that_means_nothing() -> None:
    with pytest.raises(ValueError, match="device 'gpu' is unknown to this PyTorch"):
        choose_device("gpu")


def test_autocast_and_scaler_by_precision() -> None:
    product: dict[str, torch.dtype] = {}
    for precision in ("fp32", "bf16", "fp16"):
        with autocast(CPU, precision):
            product[precision] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert grad_scaler(CPU, "fp16").get_scale() == 65536
    assert grad_scaler(CPU, "bf16").get_scale() == 1


def test_accelerator_is_on_the_device() -> None:
    accelerator = create_accelerator(CPU)
    assert accelerator.device == CPU
    assert accelerator.mixed_precision == "no"


def test_accelerator_on_another_device_than_asked_for() -> None:
    create_accelerator(CPU)
    with pytest.raises(
        ValueError, match="this process already trains on cpu: use a new one for meta"
    ):
        create_accelerator(torch.device("meta"))


def test_peak_memory_of_this_process() -> None:
    assert 2**24 < peak_memory(CPU) < 2**40


@pytest.mark.parametrize("fast", [True, False])
def test_slow_bf16_is_told(
    fast: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "is_bf16_fast", lambda device: fast)
    assert choose_precision(CPU, amp=True, dtype="bf16") == "bf16"
    assert (
        "only emulates bf16, which is slow: set SOLVER.AMP.ENABLED False" in caplog.text
    ) is not fast


def test_mixed_precision_on_the_cpu_is_bf16(caplog: pytest.LogCaptureFixture) -> None:
    cpu = torch.device("cpu")
    assert choose_precision(cpu, amp=False, dtype="fp16") == "fp32"
    assert choose_precision(cpu, amp=True, dtype="bf16") == "bf16"
    assert choose_precision(cpu, amp=True, dtype="fp16") == "bf16"
    assert "not SOLVER.AMP.DTYPE fp16" in caplog.text
    with pytest.raises(ValueError, match=r"SOLVER.AMP.DTYPE is 'half'; choose bf16 or fp16"):
        choose_precision(cpu, amp=True, dtype="half")


def test_an_accelerator_is_waited_for_and_its_peak_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, torch.device]] = []
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(
            torch.accelerator, name, lambda device, name=name: calls.append((name, device))
        )
    for device in (CPU, torch.device("cuda:0")):
        synchronize(device)
        reset_peak_memory(device)
    assert calls == [
        (name, torch.device("cuda:0")) for name in ("synchronize", "reset_peak_memory_stats")
    ]


def test_a_device_has_a_name_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.backends.cpu.get_cpu_capability() in device_name(CPU)
    module = SimpleNamespace(get_device_name=lambda device: f"A card {device.index}")
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert device_name(torch.device("cuda:1")) == "A card 1"
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace())
    assert device_name(torch.device("mps")) == "mps"


def test_a_machine_without_a_compiler_is_told_so() -> None:
    program = "import torch; from centernet2.devices import require_compiler; require_compiler(torch.device('cpu'))"
    environment = {**os.environ, "CXX": "/nonexistent", "PATH": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert "ValueError: torch.compile does not work on cpu" in done.stderr
    assert "g++" in done.stderr and "SOLVER.COMPILE" in done.stderr


def test_a_compiler_that_works_is_not_complained_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    require_compiler(CPU)


KEPT_OR_NOT = """
import sys, torch
from centernet2 import devices
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
getattr(devices, sys.argv[1])(torch.device("cpu"))
start = resident()
maps = [torch.ones(2**22) for _ in range(8)]  # of 16 MiB
assert resident() - start > 120
last = torch.ones(2**22)
del maps
print(resident() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory of the process is read from /proc")
@pytest.mark.parametrize(
    ("function", "kept"), [(keep_freed_memory, True), (return_freed_memory, False)]
)
def test_freed_memory(function: Callable[[torch.device], None], kept: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEPT_OR_NOT, function.__name__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (float(done.stdout) > 100) is kept
