"""What the command `predict` imports: little beyond torch, for the first picture."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import centernet2
from centernet2.checkpoint import Checkpoint, save_checkpoint

SLOW = ["accelerate", "onnx", "pandas", "pydantic", "scipy", "timm", "torch._dynamo", "torchvision"]
PROGRAM = f"""
import json, sys
from centernet2.cli import main
main()
print(json.dumps([name for name in {SLOW} if name in sys.modules]))
"""


@pytest.mark.parametrize(
    "name", ["CenterNet2_R18_small", "CenterNet2_Lite_N", "CenterNet-S4_DLA_8x"]
)
def test_first_picture_imports_no_slow_packages(name: str, tmp_path: Path) -> None:
    model = centernet2.build_model(name)
    names = tuple(map(str, range(model.num_classes)))
    checkpoint = Checkpoint(model.state_dict(), replace(model.info, class_names=names), 1, {})
    save_checkpoint(tmp_path / "w.pth", checkpoint)
    Image.new("RGB", (96, 64)).save(tmp_path / "a.png")
    words = ["predict", "a.png", "--weights", "w.pth", "--output", "out"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert (tmp_path / "out" / "predictions.json").exists()
