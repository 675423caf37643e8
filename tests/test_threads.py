"""The number of threads: by cores, quota and load; a person's own choice wins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from centernet2 import threads
from centernet2.threads import (
    ProcessorTime,
    ThreadsByLoad,
    choose_threads,
    cpu_quota,
    describe_threads,
    divide_threads,
)


def write_group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read control groups below the folder of the test."""
    monkeypatch.setattr(threads, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(threads, "OWN_GROUPS", tmp_path / "own")


@pytest.mark.parametrize(("files", "own", "quota"), [
    ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
    ({"cpu.max": "max 100000\n"}, "0::/\n", None),
    ({"a/cpu.max": "max 100000\n", "cpu.max": "200000 100000\n"}, "0::/a/b\n", 2.0),
    ({"a/cpu.max": "50000 100000\n", "cpu.max": "200000 100000\n"}, "0::/a/b\n", 0.5),
    ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
     "5:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/\n", 3.0),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n",
     None),
    ({}, "", None),
])  # fmt: skip
@pytest.mark.usefixtures("groups")
def test_quota_is_the_smallest_of_all_groups(
    tmp_path: Path, files: dict[str, str], own: str, quota: float | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        write_group(path.parent, {path.name: text})
    (tmp_path / "own").write_text(own)
    assert cpu_quota() == quota


@pytest.mark.usefixtures("groups")
def test_system_without_control_groups_has_no_quota() -> None:
    assert cpu_quota() is None


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(threads, "present_cores", lambda: 4)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    return monkeypatch


def test_quota_below_the_cores_sets_the_number(four_cores: pytest.MonkeyPatch) -> None:
    four_cores.setattr(threads, "cpu_quota", lambda: 2.5)
    environment: dict[str, str] = {}
    choose_threads(environment)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["CENTERNET2_THREADS"] == "by-quota"
    described = describe_threads(environment)
    assert "OMP_NUM_THREADS is 2, and the control group allows the time of 2.5" in described


def test_all_cores_are_used_while_they_are_free(four_cores: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    choose_threads(environment)
    assert "OMP_NUM_THREADS" not in environment
    assert environment["CENTERNET2_THREADS"] == "by-load"
    assert "the number of cores is 4; in long runs fewer" in describe_threads(environment)


@pytest.mark.parametrize("own", [
    {"OMP_NUM_THREADS": "3", "CENTERNET2_THREADS": "fixed"},
    {"OMP_NUM_THREADS": "3", "CENTERNET2_THREADS": "by-load"},
    {"CENTERNET2_THREADS": "fixed"},
])  # fmt: skip
def test_own_choice_wins(four_cores: pytest.MonkeyPatch, own: dict[str, str]) -> None:
    environment = dict(own)
    choose_threads(environment)
    assert environment == own


@pytest.mark.parametrize(("quota", "own", "number"), [
    (None, {}, "2"),
    (2.0, {}, "1"),  # the number that the quota has set is that of all processes
    (None, {"OMP_NUM_THREADS": "3"}, "3"),
    (2.0, {"OMP_NUM_THREADS": "2"}, "2"),
])  # fmt: skip
def test_processes_share_the_cores(
    four_cores: pytest.MonkeyPatch, quota: float | None, own: dict[str, str], number: str
) -> None:
    four_cores.setattr(threads, "cpu_quota", lambda: quota)
    environment = dict(own)
    choose_threads(environment)
    divide_threads(2, environment)
    assert environment["OMP_NUM_THREADS"] == number


def test_import_of_the_package_chooses_nothing() -> None:
    program = "import os; before = dict(os.environ); import torch, centernet2.cli; "
    program += "centernet2.load_config; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", program], check=True)


class Machine:
    """A machine of four cores, with other programs."""

    def __init__(self) -> None:
        self.time = ProcessorTime(elapsed=0, busy=0, own=0, cores=4)

    def run(self, *, own: float, others: float) -> None:
        """Let ten seconds pass with so many busy cores."""
        now = self.time
        self.time = now._replace(
            elapsed=now.elapsed + 10, busy=now.busy + 10 * (own + others), own=now.own + 10 * own
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(threads, "PERIOD", 0.0)
    monkeypatch.setitem(os.environ, threads.ADAPTATION, threads.BY_LOAD)
    return machine


@pytest.fixture
def four_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_busy_cores_are_left_to_others(machine: Machine, four_threads: object) -> None:
    adapted = ThreadsByLoad(measure=lambda: machine.time)
    adapted.update()
    numbers = []
    loads = ((4.0, 0.0), (3.0, 1.0), (2.0, 1.1), (1.0, 3.0), (1.0, 4.0), (1.0, 2.1), (1.0, 0.1))
    for own, others in loads:
        machine.run(own=own, others=others)
        adapted.update()
        numbers.append(torch.get_num_threads())
    assert numbers == [4, 3, 3, 1, 1, 2, 4]


def test_number_is_restored_after_the_last_item(machine: Machine, four_threads: object) -> None:
    numbers = []
    for _ in ThreadsByLoad(measure=lambda: machine.time).adapt_between(range(3)):
        numbers.append(torch.get_num_threads())
        machine.run(own=1.0, others=3.0)
    assert numbers == [4, 4, 1] and torch.get_num_threads() == 4


def test_number_stays_if_it_is_chosen(
    machine: Machine, four_threads: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, is_on in ((threads.FIXED, True), (threads.BY_LOAD, False)):
        monkeypatch.setitem(os.environ, threads.ADAPTATION, variable)
        adapted = ThreadsByLoad(is_on=is_on, measure=lambda: machine.time)
        for _ in range(2):
            machine.run(own=1.0, others=3.0)
            adapted.update()
        assert torch.get_num_threads() == 4
