"""Files that are recognized before they are read as weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from centernet2.checkpoint.weights_file import WeightsError, is_json_file, read_content


@pytest.mark.parametrize("start", [b"{", b"[", b"<", b" {"])
def test_header_length_of_safetensors_is_not_taken_for_text(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata={"pad": ""})
    content = path.read_bytes()
    old = int.from_bytes(content[:8], "little")
    length = int.from_bytes(start, "little")
    while length < old:
        length += 256 ** len(start)
    header = content[8 : 8 + old].ljust(length)
    path.write_bytes(length.to_bytes(8, "little") + header + content[8 + old :])
    assert path.read_bytes().startswith(start)
    assert read_content(path)["weight"].tolist() == [1, 1] and not is_json_file(path)


@pytest.mark.parametrize(("name", "content", "kind"), [
    ("model.pth", b"hello world", "a text file"),
    ("model.pt", "权重文件\n".encode("gbk"), "a text file"),
    ("model.pth", b"", "an empty file"),
    ("model.pth", b"\x08\x0a\x12\x07pytorch", "no file of PyTorch"),  # ONNX
    (
        "model.onnx",
        b"\x08\x0a\x12\x07pytorch",
        "an exported file, not a weights file; .* explain, serve, pseudo-label, verify and",
    ),
    ("model.PT2", b"PK\x03\x04", "an exported file, not a weights file; give the checkpoint"),
    ("model.xml", b'<?xml version="1.0"?>\n<net name="x">', "an exported file, not"),
    ("model.pth", b"BM\x9a\0\0\0", r"a picture \(BMP\)"),
    ("model.h5", b"\x89HDF\r\n", "an HDF5 file"),
    ("model.npy", b"\x93NUMPY\x01", "an array of NumPy"),
])  # fmt: skip
def test_other_kinds_of_file_are_told(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} is {kind}"):
        read_content(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_recognized_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "results.txt"
    path.write_text("\n" + json.dumps([{"score": 1}]), encoding=encoding)
    assert is_json_file(path)
    with pytest.raises(WeightsError, match=r"results\.txt is a JSON file"):
        read_content(path)
    assert not is_json_file(tmp_path / "missing.json")
