"""Convolutions whose algorithm is chosen are the convolutions of torch."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.ops import conv, winograd

GEOMETRIES: dict[str, dict[str, Any]] = {
    "3x3": {"size": 3, "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1},
    "1x1": {"size": 1, "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1},
    "stride": {"size": 3, "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1},
    "groups": {"size": 3, "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 4},
    "dilation": {"size": 3, "stride": (1, 1), "padding": (2, 2), "dilation": (2, 2), "groups": 1},
}


def scene(groups: int, size: int) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 8, 22, 30), (12, 8 // groups, size, size), (12,), (12,))
    x, weight, gain, bias = (torch.randn(shape, generator=random) for shape in shapes)
    return x.contiguous(memory_format=torch.channels_last), weight, gain, bias


@pytest.mark.parametrize("winograds", [True, False], ids=["winograd", "direct"])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("with_gain", [True, False], ids=["gain", "no gain"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_results_and_gradients(
    name: str, with_gain: bool, with_bias: bool, winograds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv, "CHANNELS", 1 if winograds else 1000)
    monkeypatch.setattr(conv, "TILES", 1 if winograds else 1000)
    geometry = dict(GEOMETRIES[name])
    x, weight, gain, bias = scene(geometry["groups"], geometry.pop("size"))
    results = []
    for ours in (True, False):
        inputs = [t.clone().requires_grad_() for t in (x, weight, *([bias] if with_bias else []))]
        shift = inputs[2] if with_bias else None
        if ours:
            out = conv.conv2d(inputs[0], inputs[1], shift, gain=gain if with_gain else None, **geometry)
            with torch.no_grad():
                again = conv.conv2d(inputs[0], inputs[1], shift, gain=gain if with_gain else None, **geometry)
            assert torch.equal(out, again)
        else:
            scaled = inputs[1] * gain.view(-1, 1, 1, 1) if with_gain else inputs[1]
            out = F.conv2d(inputs[0], scaled, shift, **geometry)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().std()))


def test_large_ones_are_winograds(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(winograd, "convolve", lambda x, weight, bias: called.append(weight.shape) or x)
    geometry = dict(GEOMETRIES["3x3"])
    del geometry["size"]
    for channels, side in ((256, 64), (256, 16), (128, 64)):
        x = torch.zeros(1, channels, side, side).contiguous(memory_format=torch.channels_last)
        conv.conv2d(x, torch.zeros(channels, channels, 3, 3), None, **geometry)
    assert called == [(256, 256, 3, 3)]


@pytest.mark.parametrize("why", ["bf16", "channels apart", "double"])
def test_others_are_torchs(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "_conv2d", None)
    monkeypatch.setattr(conv, "_compute", None)
    x, weight, _, bias = scene(1, 3)
    x = x.contiguous() if why == "channels apart" else x
    x, weight, bias = (t.double() for t in (x, weight, bias)) if why == "double" else (x, weight, bias)
    options: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "bf16"):
        found = conv.conv2d(x, weight, bias, **options)
        assert torch.equal(found, F.conv2d(x, weight, bias, padding=1))


def test_a_frozen_gain_keeps_no_weights() -> None:
    x, weight, gain, bias = scene(1, 3)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        conv.conv2d(
            x, weight.requires_grad_(), bias, gain=gain, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1
        )
    own = {t.data_ptr() for t in (x, weight, gain)}
    assert {t.data_ptr() for t in kept} <= own


def test_a_compiled_program_calls_one_operator() -> None:
    x, weight, gain, bias = scene(1, 3)
    options: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "gain": gain}
    explained = torch._dynamo.explain(lambda x: conv.conv2d(x, weight, bias, **options).relu())(x)
    assert explained.graph_count == 1 and explained.graph_break_count == 0
    torch.library.opcheck(
        conv._conv2d, (x, weight.requires_grad_(), gain, bias, [1, 1, 1, 1, 1, 1, 1]), rtol=1e-3, atol=1e-3
    )
