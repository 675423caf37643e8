"""Sessions of OpenVINO."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from centernet2.runtime import openvino_session
from centernet2.runtime.openvino_session import OpenVinoSession

THREADS = 3


def fake_openvino(compiled: list[tuple[Any, ...]], devices: list[str]) -> Any:
    """An OpenVINO with some devices, which notes what is compiled."""
    model = SimpleNamespace(has_rt_info=lambda key: False)
    core = SimpleNamespace(
        available_devices=devices,
        read_model=lambda path: model,
        compile_model=lambda *arguments: compiled.append(arguments),
    )
    return SimpleNamespace(Core=lambda: core, __version__="9.9")


@pytest.mark.parametrize("device", ["GPU", "GPU.1"])
def test_a_graphics_device_takes_no_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    compiled: list[tuple[Any, ...]] = []
    fake = fake_openvino(compiled, ["CPU", "GPU.0", "GPU.1"])
    monkeypatch.setattr(openvino_session, "import_runtime", lambda *_: fake)
    for name in (device, "CPU"):
        OpenVinoSession(tmp_path / "model.xml", [name], threads=2)
    assert [(name, "INFERENCE_NUM_THREADS" in settings) for _, name, settings in compiled] == [
        (device, False), ("CPU", True),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"has no device GPU\.2; it has CPU, GPU\.0, GPU\.1"):
        OpenVinoSession(tmp_path / "model.xml", ["GPU.2"])


def test_several_threads_run_one_session(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    operators = openvino.opset13
    images = operators.parameter([1, 3, 64, 64], np.uint8, name="images")
    weight = operators.constant(np.ones((8, 3, 7, 7), np.float32))
    pixels = operators.convert(images, "f32")
    sums = operators.convolution(pixels, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    sums.output(0).set_names({"sums"})
    path = tmp_path / "model.xml"
    openvino.save_model(openvino.Model([sums], [images]), path, compress_to_fp16=False)
    session = OpenVinoSession(path, [], threads=1)

    def run_often(value: int) -> set[float]:
        filled = np.full((1, 3, 64, 64), value, np.uint8)
        return {float(each) for _ in range(20) for each in session.run(filled)["sums"].flat}

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(run_often, range(1, THREADS + 1)))
    assert found == [{147.0 * value} for value in range(1, THREADS + 1)]  # 3 x 7 x 7 pixels
