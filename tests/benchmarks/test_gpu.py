"""The benchmark of accelerators runs from one command, here on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def smoke(output: Path, *parts: str) -> dict[str, list[dict[str, object]]]:
    command = [sys.executable, str(BENCHMARK), "--smoke", "--output", str(output)]
    subprocess.run([*command, "--part", *parts], check=True, timeout=300)
    answer = json.loads((output / "gpu.json").read_text())
    assert answer["reference"] is False
    results: dict[str, list[dict[str, object]]] = answer["results"]
    return results


def test_results_are_a_file_and_tables(tmp_path: Path) -> None:
    (inference,) = smoke(tmp_path, "speed")["speed"]
    assert inference["images per second"] and inference["megabytes"]
    tables = (tmp_path / "gpu.md").read_text()
    assert "the reference is not built: left out" in tables
    assert "| CenterNet2_R18_small, 96 x 128 | inference | fp32 | eager |" in tables


@pytest.mark.long
def test_waits_and_digits(tmp_path: Path) -> None:
    results = smoke(tmp_path, "waits", "digits", "compiled")
    assert {row["what waits"] for row in results["waits"]} >= {"torchvision::nms"}
    (digits,) = results["digits"]
    assert digits["steps"] == 2 and 0 <= float(str(digits["AP"])) <= 100
    assert "compiled" not in results
