"""The training loop of docs/performance.md runs as it is written."""

from pathlib import Path

import pytest
import torch

from docs.blocks import read_blocks
from docs.build_site import ROOT

MAX_LINES = 20


def test_own_training_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = read_blocks(ROOT / "docs" / "performance.md")
    (loop,) = [block.text for block in blocks if "optimizer.step()" in block.text]
    assert sum(bool(line) for line in loop.splitlines()) <= MAX_LINES
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.manual_seed(0)
    exec(compile(loop, "docs/performance.md", "exec"), {})
    weights = torch.load("weights.pth")
    assert all(bool(each.isfinite().all()) for each in weights.values())
