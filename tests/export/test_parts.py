"""Parts of networks in ONNX Runtime, compared with PyTorch at their tensors."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from centernet2.builders.detector.network import build_backbone_and_neck
from centernet2.config import load_config
from centernet2.export.onnx_file import OPSET
from centernet2.layers import DeformConv2d
from centernet2.models.necks.bifpn import BiFPN, BiFPNOptions

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
pytestmark = pytest.mark.slow  # each is traced for seconds
CHANNELS = {"res3": 16, "res4": 24, "res5": 32}


class Positional(nn.Module):
    """BiFPN as a function of feature maps, which have names otherwise."""

    def __init__(self, neck: BiFPN) -> None:
        super().__init__()
        self.neck = neck

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.neck(dict(zip(CHANNELS, maps, strict=True))).values())


@torch.no_grad()
def require_equal(module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Compare a module with its ONNX model."""
    wanted = module(*inputs)
    program = torch.onnx.export(module, (*inputs,), dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    feed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    outputs = session.run(None, feed)
    expected = wanted if isinstance(wanted, tuple) else (wanted,)
    for own, other in zip(outputs, expected, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(torch.from_numpy(own), other, rtol=0, atol=2e-5)


def test_bifpn() -> None:
    torch.manual_seed(0)
    neck = BiFPN(CHANNELS, list(CHANNELS), BiFPNOptions(num_bifpn=1, out_channels=32))
    sizes = ((32, 48), (16, 24), (8, 12))
    maps = [
        torch.randn(1, channels, *size)
        for channels, size in zip(CHANNELS.values(), sizes, strict=True)
    ]
    require_equal(Positional(neck).eval(), maps)


def test_block_of_res2net_with_deformable_convolutions() -> None:
    torch.manual_seed(0)
    config = load_config("CenterNet2_R2-101-DCN-BiFPN_1280_4x", ["MODEL.RESNETS.DEPTH", "50"])
    backbone, _ = build_backbone_and_neck(config)
    parents = [each for each in backbone.modules() if hasattr(each, "downsample")]
    block = next(p for p in parents if any(isinstance(m, DeformConv2d) for m in p.modules()))
    for own in block.modules():
        if isinstance(own, DeformConv2d):
            nn.init.normal_(own.offset.weight, std=0.05)  # samples between pixels, and beyond edges
    channels = next(block.parameters()).shape[1]
    require_equal(block.eval(), [torch.randn(1, channels, 24, 31)])
