"""Convolutions on the CPU against PyTorch's."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.kernels import conv2d, conv_cpu, winograd

# kernel size; stride, padding and dilation, two numbers each, and groups
GEOMETRIES = {
    "3x3": (3, [1, 1, 1, 1, 1, 1, 1]),
    "1x1": (1, [1, 1, 0, 0, 1, 1, 1]),
    "stride": (3, [2, 2, 1, 1, 1, 1, 1]),
    "groups": (3, [1, 1, 1, 1, 1, 1, 4]),
    "dilation": (3, [1, 1, 2, 2, 2, 2, 1]),
}
PLAIN = GEOMETRIES["3x3"][1]


def scene(groups: int, size: int) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 8, 22, 30), (12, 8 // groups, size, size), (12,), (12,))
    x, weight, gain, bias = (torch.randn(shape, generator=random) for shape in shapes)
    return x.contiguous(memory_format=torch.channels_last), weight, gain, bias


@pytest.mark.parametrize("winograds", [True, False], ids=["winograd", "direct"])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("with_gain", [True, False], ids=["gain", "no gain"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_results_and_gradients_equal_pytorchs(
    name: str, with_gain: bool, with_bias: bool, winograds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_cpu, "MIN_CHANNELS", 1 if winograds else 1000)
    monkeypatch.setattr(conv_cpu, "MIN_GRADIENT_TILES", 1 if winograds else 1000)
    size, geometry = GEOMETRIES[name]
    stride, padding, dilation, groups = geometry[:2], geometry[2:4], geometry[4:6], geometry[6]
    x, weight, gain, bias = scene(groups, size)
    results = []
    for ours in (True, False):
        inputs = [t.clone().requires_grad_() for t in (x, weight, *([bias] if with_bias else []))]
        shift = inputs[2] if with_bias else None
        if ours:
            out = conv2d(inputs[0], inputs[1], shift, geometry, gain=gain if with_gain else None)
            with torch.no_grad():
                again = conv2d(
                    inputs[0], inputs[1], shift, geometry, gain=gain if with_gain else None
                )
            assert torch.equal(out, again)
        else:
            scaled = inputs[1] * gain.view(-1, 1, 1, 1) if with_gain else inputs[1]
            out = F.conv2d(inputs[0], scaled, shift, stride, padding, dilation, groups)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(
            actual, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().std())
        )


def test_large_convolutions_run_by_winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(
        winograd, "convolve", lambda x, matrices, bias: called.append(matrices.shape) or x
    )
    for channels, side in ((256, 64), (256, 16), (128, 64)):
        x = torch.zeros(1, channels, side, side).contiguous(memory_format=torch.channels_last)
        conv2d(x, torch.zeros(channels, channels, 3, 3), None, PLAIN)
    assert called == [(36, 256, 256)]


@pytest.mark.parametrize("why", ["bf16", "channels apart", "double"])
def test_others_run_by_pytorchs_kernel(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_cpu, "_conv2d", None)
    monkeypatch.setattr(conv_cpu, "_compute", None)
    x, weight, _, bias = scene(1, 3)
    x = x.contiguous() if why == "channels apart" else x
    x, weight, bias = (
        (t.double() for t in (x, weight, bias)) if why == "double" else (x, weight, bias)
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "bf16"):
        actual = conv2d(x, weight, bias, PLAIN)
        assert torch.equal(actual, F.conv2d(x, weight, bias, padding=1))


def test_frozen_gain_keeps_no_product() -> None:
    x, weight, gain, bias = scene(1, 3)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        conv2d(x, weight.requires_grad_(), bias, PLAIN, gain=gain)
    own = {t.data_ptr() for t in (x, weight, gain)}
    assert {t.data_ptr() for t in kept} <= own


FIRST_CALLS = """
import sys
import torch
from centernet2.kernels import conv2d
from centernet2.kernels.nms_exported import nms_of_batch
x = torch.zeros(1, 4, 8, 8).contiguous(memory_format=torch.channels_last)
weight = torch.zeros(4, 4, 3, 3, requires_grad=True)
conv2d(x, weight, None, [1, 1, 1, 1, 1, 1, 1]).sum().backward()
nms_of_batch(torch.zeros(1, 2, 4), torch.zeros(1, 2), torch.zeros(1, 2), 0.5, 1)
assert "torch._dynamo" not in sys.modules
"""


def test_first_calls_do_not_import_the_compiler() -> None:
    subprocess.run([sys.executable, "-c", FIRST_CALLS], check=True)


def test_compiled_program_calls_one_operator() -> None:
    x, weight, gain, bias = scene(1, 3)
    explained = torch._dynamo.explain(lambda x: conv2d(x, weight, bias, PLAIN, gain=gain).relu())(x)
    assert explained.graph_count == 1 and explained.graph_break_count == 0
    torch.library.opcheck(
        conv_cpu._conv2d, (x, weight.requires_grad_(), gain, bias, PLAIN), rtol=1e-3, atol=1e-3
    )


def test_compiled_convolutions_stay_channels_last() -> None:
    """Its tracer assumes that group normalization returns contiguous tensors."""
    x = torch.zeros(1, 256, 64, 64).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    called: list[str] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        called.extend(str(n.target) for n in graph.graph.nodes if "conv2d" in str(n.target))
        return graph

    def tower(x: Tensor) -> Tensor:
        return conv2d(F.group_norm(x, 32).relu(), weight, None, PLAIN)

    with torch.no_grad():
        torch.compile(tower, backend=count)(x)
    assert called == ["centernet2.conv2d.default"]
