"""Weights files of every kind: what is loaded, what is refused."""

import errno
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.checkpoint import (
    Checkpoint,
    WeightsError,
    export_reference_checkpoint,
    load_checkpoint,
    load_weights,
    read_weights,
    save_checkpoint,
)
from centernet2.checkpoint.checkpoint import digest_of, last_checkpoint, set_aside_checkpoints
from centernet2.files import describe_os_error
from centernet2.structures import ModelInfo
from tests.helpers.fill import caffe2
from tests.helpers.pretend import PretendDevice

SMALL = "CenterNet2_R18_small"


def zip_of(*names: str) -> bytes:
    """Return an archive of files that hold a number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "3")
    return buffer.getvalue()


def test_digest_depends_on_names_and_values() -> None:
    tensor = torch.zeros(3)
    others = ({"b": tensor}, {"a": torch.ones(3)}, {"a": tensor.double()}, {"a": tensor[None]})
    assert digest_of({"a": tensor}) == digest_of({"a": tensor.clone()})
    assert len({digest_of({"a": tensor}), *map(digest_of, others)}) == 5


def test_reference_checkpoint_round_trip(tmp_path: Path) -> None:
    model, other = centernet2.build_model(SMALL), centernet2.build_model(SMALL)
    export_reference_checkpoint(model, tmp_path / "reference.pth")
    report = load_weights(other, read_weights(tmp_path / "reference.pth"))
    assert not (report.skipped or report.reinitialized or report.mismatched)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key


def test_tensors_of_a_device_are_written_as_those_of_the_host(tmp_path: Path) -> None:
    """The reader refuses other kinds, such as those of torch-npu."""
    path, ones = tmp_path / "model.pth", torch.ones(2)
    with PretendDevice():
        there = ones.to("meta")
        state = {"optimizer": {"state": {0: {"momentum_buffer": there}}, "betas": (0.9, [there])}}
        save_checkpoint(path, Checkpoint({"w": there}, ModelInfo(), 1, {}, state))
    saved = load_checkpoint(path)
    assert saved.training is not None
    optimizer = saved.training["optimizer"]
    for tensor in (
        saved.weights["w"],
        optimizer["state"][0]["momentum_buffer"],
        optimizer["betas"][1][0],
    ):
        assert type(tensor) is torch.Tensor and torch.equal(tensor, ones)


def test_failed_export_keeps_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reference.pth"
    path.write_bytes(b"old")

    def fail(content: object, file: object) -> None:
        if hasattr(file, "write"):
            file.write(b"half")
        else:
            Path(str(file)).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        export_reference_checkpoint(torch.nn.Linear(1, 1), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("nested", [True, False])
def test_caffe2_backbone_loads_as_the_reference(tmp_path: Path, shared: Path, nested: bool) -> None:
    golden = json.loads((shared / "golden" / "caffe2_names_R-50.json").read_text())
    blobs = {name: caffe2(name, tuple(shape)) for name, shape in golden["shapes"].items()}
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs} if nested else blobs))
    model = centernet2.build_model("CenterNet2_R50_1x")
    report = load_weights(model, read_weights(path))
    assert not report.skipped and not report.mismatched
    assert (
        len([name for name in report.loaded if name.startswith("backbone.")])
        == len(report.loaded)
        == 265
    )
    assert torch.equal(model.backbone.body.conv1.weight, torch.from_numpy(blobs["conv1_w"]))


@pytest.mark.parametrize("classes", [1, 2, 80, 1203])
def test_other_number_of_classes(tmp_path: Path, classes: int) -> None:
    export_reference_checkpoint(centernet2.build_model(SMALL), tmp_path / "coco.pth")
    config = centernet2.load_config(SMALL, ["MODEL.ROI_HEADS.NUM_CLASSES", str(classes)])
    report = load_weights(centernet2.build_model(config), read_weights(tmp_path / "coco.pth"))
    expected = {f"roi_heads.stages.{k}.cls_score.{p}" for k in range(3) for p in ("weight", "bias")}
    assert set(report.mismatched) == (set() if classes == 80 else expected)


def test_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(WeightsError, match=r"bad\.pkl is refused: it contains 'os\.system'"):
        read_weights(path)


@pytest.mark.parametrize("read", [read_weights, load_checkpoint])
@pytest.mark.parametrize("name", ["w.pth", "w.pkl", "w.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"<html>no</html>", b"\x80\x02}"])
def test_files_without_weights_are_refused(
    tmp_path: Path, read: Callable[[Path], object], name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [read_weights, load_checkpoint])
def test_every_failure_of_torch_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise AttributeError("no such attribute")

    (tmp_path / "w.pth").write_bytes(b"PK\3\4damaged")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(WeightsError, match=r"w\.pth is not a readable PyTorch file"):
        read(tmp_path / "w.pth")


SOMETHING = zip_of("word/document.xml")


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("w.pth", SOMETHING, "it is an archive with other content"),
    ("w.pkl", SOMETHING, "it is an archive with other content"),
    ("w.pth", SOMETHING[:-9], "it is damaged or cut off"),
    ("w.pth", zip_of("w/data.pkl"), "it is damaged"),
    ("w.pth", b"\x80\x02}", "it is damaged, cut off or of another kind"),
    ("w.pkl", b"epoch,loss\n1,2\n", "it is damaged, cut off or of another kind"),
    ("w.pkl", pickle.dumps({"a": [1, 2]})[:-3], "it is damaged, cut off or of another kind"),
])  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_unreadable_weights_are_named_with_the_reason(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name} is not a readable .*: {reason}$"):
        read_weights(tmp_path / name)


def test_program_of_torchscript_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(zip_of("w/data.pkl", "w/constants.pkl", "w/version"))
    with pytest.raises(WeightsError, match=r"w\.pt is .* TorchScript; save the state_dict"):
        read_weights(tmp_path / "w.pt")


def test_torch_file_may_have_the_suffix_of_a_pickle(tmp_path: Path) -> None:
    torch.save({"backbone.weight": torch.ones(2)}, tmp_path / "w.pkl")
    assert read_weights(tmp_path / "w.pkl").tensors["backbone.weight"].tolist() == [1, 1]


@pytest.mark.parametrize(("key", "value"), [
    ("model", [1]), ("model", {1: torch.ones(1)}), ("model", {"a": 1}), ("config", {"a": 1}),
    ("class_names", 5), ("iteration", "1"), ("test_size", 4), ("metrics", None),
])  # fmt: skip
def test_changed_checkpoints_are_refused(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(path, Checkpoint({"a": torch.ones(1)}, ModelInfo(), 1, {}))
    torch.save({**torch.load(path, weights_only=True), key: value}, path)
    for read in (read_weights, load_checkpoint):
        with pytest.raises(WeightsError, match=f"model.pth was written .* its '{key}' is missing"):
            read(path)


def test_file_without_weights_needs_no_config(tmp_path: Path) -> None:
    torch.save(torch.ones(1), tmp_path / "tensor.pt")
    with pytest.raises(WeightsError, match=r"tensor\.pt holds no dictionary of weights"):
        load_checkpoint(tmp_path / "tensor.pt")


def test_unrelated_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"other": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="nothing in"):
        load_weights(torch.nn.Linear(1, 1), read_weights(tmp_path / "other.pth"))


def test_damaged_checkpoint_is_skipped(tmp_path: Path) -> None:
    for iteration in (1, 2):
        save_checkpoint(
            tmp_path / f"model_{iteration:07d}.pth",
            Checkpoint(torch.nn.Linear(1, 1).state_dict(), ModelInfo(), iteration, {}),
        )
    (tmp_path / "model_0000002.pth").write_bytes(b"half")
    found = last_checkpoint(tmp_path)
    assert found is not None and found[1].iteration == 1
    assert not list(tmp_path.glob(".*tmp"))
    set_aside_checkpoints(tmp_path, after=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model_0000001.pth",
        "model_0000002.pth.old",
    ]
    (tmp_path / "model_0000001.pth").write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"no checkpoint in .* can be read"):
        last_checkpoint(tmp_path)


def test_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without space."""
    resource = pytest.importorskip("resource")
    path, before = tmp_path / "model.pth", resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoint = Checkpoint({"weight": torch.zeros(10**5)}, ModelInfo(), iteration=1, metrics={})
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
    try:
        with pytest.raises(OSError) as error:
            save_checkpoint(path, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert describe_os_error(error.value) == (
        f"{path} cannot be used (file too large); free space or choose another place"
    )
    assert list(tmp_path.iterdir()) == []
