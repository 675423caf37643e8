"""Files of PyTorch: a program with the operators of PyTorch and torchvision alone."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from centernet2.export.certificate import call_detector, drawn_images
from centernet2.export.exporting import ExportOptions, export_detector
from centernet2.export.graph import GraphOptions
from centernet2.export.torch_file import save_program
from centernet2.kernels.nms_exported import nms_of_batch
from centernet2.models.detector import Detector
from centernet2.outputs import is_made_by
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import NEEDED_KEYS, ExportedModel
from centernet2.runtime.session import METADATA_KEY
from centernet2.runtime.torch_session import CAPABILITY_KEY
from centernet2.runtime.verification import read_certificate

METADATA = json.dumps(
    {key: kind() for key, kind in NEEDED_KEYS.items()}
    | {"input_shape": ["batch", 3, "height", "width"], "class_names": ["cat"]}
)
NUM_CLASSES = 1203


class Suppressor(nn.Module):
    """NMS of boxes that depend on the images."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = images.float().flatten(1)[:, :2000].unflatten(1, (-1, 5))  # [N, R, 5]
        boxes = torch.cat([x[..., :2], x[..., :2] + x[..., 2:4]], dim=2)
        labels = (x[..., 4] / 64).long() * (NUM_CLASSES // 4)
        kept = nms_of_batch(boxes, x[..., 4] - 5, labels, 0.3, NUM_CLASSES)
        return {"boxes": boxes, "kept": kept}


@pytest.fixture(scope="module")
def suppressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torch") / "model.pt2"
    images = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    program = torch.export.export(
        Suppressor(), (images,), dynamic_shapes=({0: Dim.DYNAMIC},), strict=False
    )
    save_program(program, path, METADATA, compile=False)
    return path


def test_nms_is_that_of_the_graph(suppressor: Path) -> None:
    model = ExportedModel(suppressor)
    random = np.random.default_rng(0)
    for count in (1, 3):
        images = random.integers(0, 255, (count, 3, 40, 60), dtype=np.uint8)
        expected = Suppressor()(torch.from_numpy(images))["kept"].numpy()
        assert 0.1 < expected.mean() < 0.9
        np.testing.assert_array_equal(model.run(images)["kept"], expected)
        view = images[..., ::-1].copy()[..., ::-1]  # as of BGR pixels
        np.testing.assert_array_equal(model.run(view)["kept"], expected)


def test_program_needs_no_operator_of_this_package(suppressor: Path) -> None:
    graph = torch.export.load(suppressor).graph
    namespaces = {n.target.namespace for n in graph.nodes if hasattr(n.target, "namespace")}
    assert namespaces == {"aten", "torchvision"}


def test_metadata_and_mark(suppressor: Path) -> None:
    model = ExportedModel(suppressor)
    assert model.metadata["class_names"] == ["cat"]
    assert model.session.description.startswith("torch ") and is_made_by(suppressor, "export")


def test_damage_is_named(suppressor: Path, tmp_path: Path) -> None:
    content = suppressor.read_bytes()
    for spoiled in (content[:-200], content[:100], b"nothing", b""):
        (tmp_path / "model.pt2").write_bytes(spoiled)
        with pytest.raises(ValueError, match=r"model\.pt2 cannot be opened by torch"):
            ExportedModel(tmp_path / "model.pt2")
    with pytest.raises(ValueError, match="this torch has no device TPU; it has cpu"):
        ExportedModel(suppressor, providers=["TPU"])
    with pytest.raises(ValueError, match="runs a file on one device; choose one of cpu, cuda"):
        ExportedModel(suppressor, providers=["cpu", "cuda"])


def test_program_for_another_cpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the process by an illegal instruction."""
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/data/aotinductor/model.so", b"")
    facts = {METADATA_KEY: METADATA, CAPABILITY_KEY: "AVX512"}
    compiled = SimpleNamespace(get_metadata=lambda: facts)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: compiled)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(ValueError, match="for CPUs with AVX512, and this one has AVX2; export it"):
        ExportedModel(tmp_path / "model.pt2")
    facts[CAPABILITY_KEY] = "AVX2"
    assert ExportedModel(tmp_path / "model.pt2").metadata["class_names"] == ["cat"]


def test_threads_are_those_of_a_call(suppressor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = torch.get_num_threads(), []
    model = ExportedModel(suppressor, threads=before + 1)
    with pytest.raises(ValueError, match="threads is -1; it takes a whole number from 1"):
        ExportedModel(suppressor, threads=-1)
    program = model.session.program

    def run(images: Tensor) -> Any:
        found.append(torch.get_num_threads())
        return program(images)

    monkeypatch.setattr(model.session, "program", run)
    model.run(np.zeros((1, 3, 40, 60), np.uint8))
    assert found == [before + 1] and torch.get_num_threads() == before


@pytest.mark.long
@pytest.mark.parametrize("name", ["torch", "aotinductor"])
def test_detections_are_those_of_the_detector(
    name: str, detector: Detector, tmp_path: Path
) -> None:
    path, size = tmp_path / "model.pt2", (96, 128)
    graph = GraphOptions(size=size if name == "aotinductor" else None)
    options = ExportOptions(graph, format=name)
    export_detector(detector, path, options)
    certificate = read_certificate(path)
    assert certificate["share"] == 1 and len(certificate["stages"]) == 3
    image = drawn_images()[0][:, : size[0], : size[1]]
    model = ExportedModel(path)
    for images in (image[None], image[None].repeat(3, 1, 1, 1)):
        call = call_detector(detector, images)
        for own, wanted in zip(model.detect(call.images), call.detections, strict=True):
            assert len(wanted["boxes"]) and compare_detections(own, wanted).share == 1
