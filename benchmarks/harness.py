"""Measurement: warm-up, runs in turn, medians, one line of JSON."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]


def compare(
    name: str,
    works: Mapping[str, Work],
    *,
    warm_up: int = 1,
    runs: int = 5,
    clock: Callable[[], float] = time.perf_counter,
    **details: Any,
) -> dict[str, Any]:
    """Time each work, in turn, and print one line of JSON.

    Taking turns lets other load on the machine affect all of them alike. Ratio and difference
    compare the first work with each other one, run by run: below 1 and 0 the first is faster. On a
    busy machine the clock is time.process_time, in one thread.
    """
    for _ in range(warm_up):
        for work in works.values():
            work()
    seconds: dict[str, list[float]] = {label: [] for label in works}
    for _ in range(runs):
        for label, work in works.items():
            started = clock()
            work()
            seconds[label].append(clock() - started)
    first, *others = works
    ratios = {
        f"{first} / {other}": spread(
            [a / b for a, b in zip(seconds[first], seconds[other], strict=True)]
        )
        for other in others
    }
    differences = {
        f"{first} - {other}": spread(
            [a - b for a, b in zip(seconds[first], seconds[other], strict=True)]
        )
        for other in others
    }
    results = {
        "benchmark": name,
        **details,
        "seconds": {label: spread(values) for label, values in seconds.items()},
        "ratio": ratios,
        "difference": differences,
        "warm_up": warm_up,
        "runs": runs,
        **machine(),
    }
    print(json.dumps(results), flush=True)
    return results


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {
        "median": round(statistics.median(values), 6),
        "min": round(min(values), 6),
        "max": round(max(values), 6),
    }


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "torchvision")}
        | {"python": platform.python_version()},
    }


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
