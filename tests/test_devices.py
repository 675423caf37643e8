import pytest
import torch

from centernet2 import devices
from centernet2.devices import (
    JOB_VARIABLES,
    autocast,
    choose_device,
    create_accelerator,
    grad_scaler,
    peak_memory,
    reset_peak_memory,
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
def test_accelerator_is_the_default_device(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pretend(monkeypatch, kind)
    assert choose_device(None) == torch.device(kind)
    assert choose_device(f"{kind}:1") == torch.device(f"{kind}:1")
    assert choose_device("cpu") == CPU


def test_cpu_is_the_default_without_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None)
    assert choose_device(None) == CPU


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "meta", "cpu:3"])
def test_unavailable_device_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend(monkeypatch, None)
    with pytest.raises(ValueError, match=f"device '{name}' is not available; available: cpu$"):
        choose_device(name)


def test_device_index_out_of_range(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda", count=2)
    with pytest.raises(ValueError, match=r"'cuda:2' is not .*; available: cpu, cuda:0, cuda:1"):
        choose_device("cuda:2")


def test_each_process_has_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda", count=2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(None) == choose_device("cuda") == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"more processes than its 2 devices of cuda.*--num-gpus"):
        choose_device(None)


def test_unknown_device_name_is_refused() -> None:
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


def test_accelerator_on_another_device_is_refused() -> None:
    create_accelerator(CPU)
    with pytest.raises(ValueError, match="process already trains on cpu: use a new one for meta"):
        create_accelerator(torch.device("meta"))


@pytest.mark.parametrize(("kind", "given", "missing"), [
    ("cuda", {"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK and MASTER_ADDR and MASTER_PORT"),
    ("cpu", {"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR"),
    ("cuda", {"RANK": "3"}, "LOCAL_RANK and WORLD_SIZE and MASTER_ADDR and MASTER_PORT"),
    ("cuda", {"LOCAL_RANK": "0"}, "RANK and WORLD_SIZE and MASTER_ADDR and MASTER_PORT"),
])  # fmt: skip
def test_some_variables_of_a_job_are_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, given: dict[str, str], missing: str
) -> None:
    """The processes would train alone, and write the same files."""
    set_variables(monkeypatch, given)
    with pytest.raises(ValueError, match=f"set, but not {missing}; start them with torchrun"):
        create_accelerator(torch.device(kind))


def test_one_process_needs_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {"RANK": "0", "WORLD_SIZE": "1"})
    assert create_accelerator(CPU).num_processes == 1


def set_variables(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def test_processes_share_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    job = dict.fromkeys(JOB_VARIABLES, "2") | {"RANK": "0", "LOCAL_RANK": "0"}
    set_variables(monkeypatch, job)
    with pytest.raises(ValueError, match=r"'cuda:1' is one for all .*\(--device cuda\)"):
        create_accelerator(torch.device("cuda:1"))
    assert not chosen
    monkeypatch.setenv("LOCAL_RANK", "1")
    devices._require_own_device(torch.device("cuda:1"))
    monkeypatch.delenv("LOCAL_RANK")  # a process alone takes any
    devices._require_own_device(torch.device("cuda:1"))


def test_peak_memory_of_this_process() -> None:
    assert 2**24 < peak_memory(CPU) < 2**40


def test_accelerator_is_synchronized_and_peak_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, torch.device]] = []
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(
            torch.accelerator, name, lambda device, name=name: calls.append((name, device))
        )
    monkeypatch.setattr(torch.accelerator, "memory_stats", lambda device: {})
    for device in (CPU, torch.device("cuda:0")):
        synchronize(device)
        reset_peak_memory(device)
    assert calls == [
        (name, torch.device("cuda:0")) for name in ("synchronize", "reset_peak_memory_stats")
    ]


def test_memory_that_pytorch_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training logs the peak memory, and may not fail for it."""

    def refuse(device: torch.device) -> None:
        raise RuntimeError("Allocator for mps is not a DeviceAllocator")

    for name in ("memory_stats", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.accelerator, name, refuse)
    reset_peak_memory(torch.device("mps"))
    assert peak_memory(torch.device("mps")) == 0
