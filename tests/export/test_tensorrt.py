"""The form that TensorRT's parser takes, and the example that builds an engine from it."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.export import exporting
from centernet2.export.exporting import ExportOptions, export_detector
from centernet2.export.graph import GraphOptions
from centernet2.export.onnx_file import content_of
from centernet2.export.program import exportable
from centernet2.export.tensorrt_form import content_for_tensorrt, for_tensorrt
from centernet2.export.tensorrt_table import OPERATORS, refusals
from centernet2.runtime.exported_model import ExportedModel
from centernet2.runtime.verification import agreement_of, read_calls, reference_path
from tests.helpers.exported import build_two_levels
from tests.helpers.fake_tensorrt import Parser, fake_tensorrt

onnx = pytest.importorskip("onnx", reason="the extra [export] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
EXAMPLE = Path(__file__).parents[2] / "examples" / "tensorrt" / "engine.py"
TYPES = onnx.TensorProto
SMALL = ("INPUT.MIN_SIZE_TEST", "192", "INPUT.MAX_SIZE_TEST", "256", "INPUT.TEST_SIZE", "256")
CONFIGS = (  # with one and two stages, few and many classes; all configs would take half an hour
    "CenterNet-FPN_R50_1x", "CenterNet-S4_DLA_8x", "CenterNet2-F_R50_1x",
    "CenterNet2_DLA-BiFPN-P3_4x", "CenterNet2_DLA-BiFPN-P5_640_16x", "LVIS_CenterNet2_R50_1x",
)  # fmt: skip


def model_of(
    *nodes: Any,
    input_type: int = TYPES.FLOAT,
    shape: Sequence[int | str] = (1, 3, 8, 6),
    **constants: Any,
) -> Any:
    """A model from x to y."""
    helper = onnx.helper
    values = [
        helper.make_tensor_value_info("x", input_type, shape),
        helper.make_empty_tensor_value_info("y"),
    ]
    arrays = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def node(operator: str, *inputs: str, **attributes: Any) -> Any:
    outputs = ["y", "indices"] if operator == "TopK" else ["y"]
    return onnx.helper.make_node(operator, inputs, outputs, **attributes)


def check_outputs(model: Any, x: Tensor, **wanted: Tensor) -> None:
    """Check a small model, and that it computes these outputs from x."""
    helper, arrays = onnx.helper, {name: own.numpy() for name, own in wanted.items()}
    types = {name: helper.np_dtype_to_tensor_dtype(own.dtype) for name, own in arrays.items()}
    values = [helper.make_tensor_value_info(n, types[n], own.shape) for n, own in arrays.items()]
    del model.graph.output[:]
    model.graph.output.extend(values)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for found, own in zip(session.run(None, {"x": x.numpy()}), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, own)


@pytest.mark.parametrize(("model", "reason"), [
    (lambda: model_of(node("Det", "x")), "it is not known whether"),
    (lambda: model_of(node("Sin", "x"), shape=(1, 3, "height", 8)), "no fixed shape"),
    (lambda: model_of(node("Not", "x"), input_type=TYPES.FLOAT), "Not : it takes no FLOAT"),
    (lambda: model_of(node("NonZero", "x"), input_type=TYPES.BOOL), "it takes no BOOL"),
    (lambda: model_of(node("Cast", "x", to=TYPES.DOUBLE)), "its result is DOUBLE, which"),
    (lambda: model_of(node("TopK", "x", "k"), input_type=TYPES.INT32, k=[3840]),
     "K is 3840; it has to be less"),
    (lambda: model_of(node("TopK", "x", "x")), "K is not constant"),
    (lambda: model_of(node("Resize", "x", "", "x", antialias=1)), "it cannot smooth"),
    (lambda: model_of(node("ScatterND", "x", "x", "x", reduction="add")), "reduction"),
    (lambda: model_of(node("DeformConv", "x", "x", "x", pads=[1, 1, 1, 2])), "padding differs"),
])  # fmt: skip
def test_refusals(model: Any, reason: str) -> None:
    refused = model()
    for_tensorrt(refused)
    assert any(reason in each for each in refusals(refused))


def test_newer_opsets_are_refused() -> None:
    model = model_of(node("Relu", "x"))
    model.opset_import[0].version = 21
    assert refusals(model) == ["opset 21 is beyond 20"]


@pytest.mark.parametrize("model", [
    lambda: model_of(node("TopK", "x", "k", sorted=0), k=[2]),
    lambda: model_of(node("ScatterND", "x", "i", "x", reduction="none"), i=[[0]]),
    lambda: model_of(node("Equal", "x", "yes"), input_type=TYPES.BOOL, yes=True),
])  # fmt: skip
def test_what_the_parser_refuses_is_changed(model: Any) -> None:
    changed = model()
    before = refusals(changed)
    for_tensorrt(changed)
    assert before and not refusals(changed)


@pytest.mark.parametrize(
    ("dtype", "largest"), [(torch.float32, 1), (torch.int64, 0)], ids=["scores", "indices"]
)
def test_large_topk_is_divided(dtype: torch.dtype, largest: int) -> None:
    values = torch.randint(-1, 99, (2, 9000)).to(dtype)  # many are equal
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.numpy().dtype)
    topk = node("TopK", "x", "k", sorted=0, largest=largest)
    model = model_of(topk, input_type=kind, shape=(2, 9000), k=[8000])
    wanted, order = values.sort(dim=1, descending=bool(largest), stable=True)
    assert refusals(model)
    for_tensorrt(model)
    assert not refusals(model)
    check_outputs(model, values, y=wanted[:, :8000], indices=order[:, :8000])


def test_bytes_are_flipped_as_float() -> None:
    ends = {"s": [-1], "e": [-9], "a": [1], "d": [-1]}
    nodes = [
        onnx.helper.make_node("Slice", ["x", "s", "e", "a", "d"], ["flipped"]),
        node("Cast", "flipped", to=TYPES.FLOAT),
    ]
    model = model_of(*nodes, input_type=TYPES.UINT8, **ends)
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("flipped", TYPES.UINT8, (1, 3, 8, 6))
    )
    images = torch.randint(0, 256, (1, 3, 8, 6), dtype=torch.uint8)
    assert refusals(model)
    for_tensorrt(model)
    for_tensorrt(model)  # which changes nothing more
    assert not refusals(model)
    check_outputs(model, images, y=images.flip(1).float())


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a fixed shape; images are resized in it."""
    path = tmp_path_factory.mktemp("tensorrt") / "model.onnx"
    export_detector(build_two_levels(), path, ExportOptions(GraphOptions(batch=1, size=(96, 128))))
    return path


@pytest.mark.slow
def test_all_operators_are_in_the_table(exported: Path) -> None:
    assert {each.op_type for each in onnx.load(exported).graph.node} <= set(OPERATORS)


@pytest.mark.slow
def test_exported_file(fixed: Path, tmp_path: Path) -> None:
    model = onnx.load(fixed)
    assert any("its results are not sorted" in each for each in refusals(model))
    for_tensorrt(model)
    assert not refusals(model)
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / fixed.name
    onnx.save(model, path)
    assert agreement_of(ExportedModel(path), read_calls(reference_path(fixed))).share > 0.99


@pytest.mark.slow
def test_format_writes_what_the_parser_takes(
    fixed: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "content_of", lambda model: model)
    path, options = tmp_path / "model.onnx", ExportOptions(format="tensorrt")
    exporting._write(fixed.read_bytes(), path, "{}", options)
    assert not refusals(onnx.load(path))
    with pytest.raises(ValueError, match=r"would refuse the file: .* export with --batch and"):
        exporting._write(exported.read_bytes(), path, "{}", options)


@pytest.mark.long
def test_half_precision_is_taken(tmp_path: Path) -> None:
    path, shape = tmp_path / "model.onnx", GraphOptions(batch=1, size=(96, 128))
    options = ExportOptions(shape, format="tensorrt", precision="fp16")
    certificate = export_detector(build_two_levels(), path, options)
    model = onnx.load(path)
    assert certificate["share"] >= 0.99 and not refusals(model)
    halves = [each for each in model.graph.initializer if each.data_type == TYPES.FLOAT16]
    assert sum(np.prod(each.dims) for each in halves) > 1e6, "the backbone is not halved"


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_graph_of_configs_is_taken(name: str, precision: str) -> None:
    shape = GraphOptions(batch=1, size=(192, 256))
    options = ExportOptions(shape, format="tensorrt", precision=precision)
    detector = centernet2.build_model(centernet2.load_config(name, SMALL)).eval()
    graph = exporting._graph(exportable(detector), options)
    model = exporting._translate(detector, graph, "{}", options)
    content = content_for_tensorrt(content_of(model))  # raises where the parser would refuse it
    onnx.checker.check_model(content, full_check=True)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, with a simulated GPU."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt())
    spec = importlib.util.spec_from_file_location("engine", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    event = SimpleNamespace(
        record=lambda: None, synchronize=lambda: None, elapsed_time=lambda other: 1.0
    )
    for name, value in {
        "is_available": True,
        "Event": event,
        "current_stream": SimpleNamespace(cuda_stream=0),
        "get_device_name": "a GPU",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(module, "DEVICE", "cpu")
    return module


@pytest.mark.slow
def test_example(
    example: ModuleType,
    fixed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["engine.py", str(fixed), "--runs", "2"])
    example.main()
    result = json.loads(capsys.readouterr().out)
    assert result["share"] > 0.99 and result["input"] == [1, 3, 96, 128]
    assert result["runtime"] == "tensorrt 99, a GPU" and result["milliseconds"]["median"] == 1
    assert fixed.with_suffix(".engine").stat().st_size > 1000


@pytest.mark.slow
def test_example_names_what_is_refused(
    example: ModuleType, fixed: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"would refuse .*no fixed shape; export with --batch"):
        example.build_engine(exported)
    monkeypatch.setattr(Parser, "errors", ("no RoiAlign",))
    with pytest.raises(ValueError, match=r"has refused .*model\.onnx: no RoiAlign"):
        example.build_engine(fixed)
