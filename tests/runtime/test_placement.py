"""Where the nodes of exported files run, as `centernet2 doctor FILE` says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from centernet2.jobs.doctor import doctor
from centernet2.runtime import onnx_session
from centernet2.runtime.onnx_session import CPU, REMOTE, OnnxSession
from centernet2.runtime.placement import place_nodes

CUDA = "CUDAExecutionProvider"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An ONNX file of three nodes, without metadata."""
    helper = pytest.importorskip("onnx", reason="the extra [export] is not installed").helper
    nodes = [
        helper.make_node("Sigmoid", ["images"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Sin", ["b"], ["boxes"]),
    ]
    values = [helper.make_tensor_value_info(name, 1, [2]) for name in ("images", "boxes")]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path = tmp_path / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def fake_onnxruntime(of_operators: dict[str, str]) -> Any:
    """An onnxruntime for CUDA, which assigns operators to execution providers."""
    parts = [
        SimpleNamespace(ep_name=name, get_nodes=lambda op=op: [SimpleNamespace(op_type=op)])
        for op, name in of_operators.items()
    ]
    session = SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    return SimpleNamespace(
        __version__="9.9",
        get_available_providers=lambda: [CUDA, REMOTE, CPU],
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
        InferenceSession=lambda *_, **__: session,
    )


def test_nodes_of_the_cpu(file: Path) -> None:
    placement = place_nodes(file, [CPU])
    assert placement.runtime.startswith("onnxruntime ") and CPU in placement.available
    assert placement.operators == {CPU: {"Sigmoid": 2, "Sin": 1}}
    lines = doctor(file)
    assert f"3 in {file}: 3 on {CPU}" in lines[1]
    assert lines[2].endswith("none")


def test_operators_that_fall_back_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_onnxruntime({"Conv": CUDA, "Add": CUDA, "RoiAlign": CPU})
    monkeypatch.setattr(onnx_session, "import_runtime", lambda *_: fake)
    assert [line[14:] for line in doctor(file)] == [
        f"onnxruntime 9.9: {CUDA}, {CPU}",
        f"3 in {file}: 2 on {CUDA}, 1 on {CPU}",
        f"RoiAlign 1 ({CPU})",
    ]


def test_provider_that_takes_no_node_is_listed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_onnxruntime({"Conv": CPU})
    monkeypatch.setattr(onnx_session, "import_runtime", lambda *_: fake)
    assert f"0 on {CUDA}, 1 on {CPU}" in doctor(file, providers=[CUDA])[1]


def test_provider_that_cannot_start_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_onnxruntime({})
    fake.InferenceSession().get_providers = lambda: [CPU]  # as without the libraries of CUDA
    monkeypatch.setattr(onnx_session, "import_runtime", lambda *_: fake)
    with pytest.raises(ValueError, match=f"cannot start {CUDA} on this machine"):
        OnnxSession(file, [CUDA])


def test_openvino(file: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")
    path = file.with_suffix(".xml")
    openvino.save_model(openvino.convert_model(file), path, compress_to_fp16=False)
    assert place_nodes(path).operators == {"CPU": {"Sigmoid": 2, "Sin": 1}, "no device": {}}


def test_refusals(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no execution provider NoneExecutionProvider"):
        doctor(file, providers=["NoneExecutionProvider"])
    with pytest.raises(ValueError, match=r"--device cannot be applied to .*small\.onnx"):
        doctor(file, device="cpu")
    with pytest.raises(ValueError, match="--providers is of an exported file"):
        doctor(providers=[CPU])
    with pytest.raises(ValueError, match="is no exported file"):
        doctor(tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match="no such file"):
        doctor(tmp_path / "none.onnx")
