"""The benchmark of a detector."""

from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("work", ["inference", "training"])
def test_graphs_of_all_parts_are_one_step(monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    """Each part is replayed by itself, and the next one reads what it wrote."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import detector

    steps: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1))
    monkeypatch.setattr(detector, "capture_graphs", lambda model: None)  # which needs a GPU
    common = [work, "--config-file", "CenterNet2_R18_small", "--size", "64", "64"]
    plain, graphs = (
        detector.work_of(detector.parse([*common, *mode])) for mode in ([], ["--graphs"])
    )
    counts = []
    for run in (plain, graphs, graphs):
        run()
        counts.append(len(steps))
    assert counts == [0, 1, 2]
