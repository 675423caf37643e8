"""Optimization for inference changes detections by rounding alone."""

import gc
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import centernet2
from centernet2.layers.frozen_norm import FrozenBatchNorm2d
from centernet2.layers.fused_norm import FusedConv2d, FusedNorm
from centernet2.models import optimize
from centernet2.models.detector import Detector
from tests.helpers.networks import FAMILIES, FAMILY_PARAMS, IMAGES, Dense, build, scene


def test_lower_precision_is_of_layers_alone() -> None:
    images, _ = scene()
    model = build("two-stage").eval()
    seen: list[torch.dtype] = []
    model.backbone.register_forward_hook(
        lambda module, inputs, maps: seen.append(next(iter(maps.values())).dtype)
    )
    with torch.no_grad():
        exact = model(images)
        rounded = centernet2.optimize_for_inference(model, dtype="bf16")(images)
    assert seen == [torch.float32, torch.bfloat16]
    for a, b in zip(exact, rounded, strict=True):
        assert b["boxes"].dtype == b["scores"].dtype == torch.float32
        assert len(b["boxes"]) and b["scores"].max().item() == pytest.approx(
            a["scores"].max().item(), rel=0.05
        )


TIMM_NETWORKS = (
    "resnet18", "regnetx_002", "efficientnet_b0", "tf_efficientnet_b0", "mobilenetv3_small_050",
    "mobilenetv2_050", "res2net50_26w_4s", "dla34", "hrnet_w18_small", "convnext_atto", "pvt_v2_b0",
    "swin_tiny_patch4_window7_224",
)  # fmt: skip
WITHOUT_BATCH_NORM = TIMM_NETWORKS[-3:]
QUICK_NETWORKS = ("efficientnet_b0", "mobilenetv3_small_050", "convnext_atto")
OTHER_NETWORKS = sorted(set(TIMM_NETWORKS) - set(QUICK_NETWORKS))
NORMS = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)


def fused_count(model: Detector) -> tuple[int, int]:
    """How many norms are fused, and how many are left, where outputs do not change."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, NORMS):
            for name, low, high in (
                ("weight", 0.5, 1.5),
                ("bias", -0.1, 0.1),
                ("running_mean", -0.1, 0.1),
                ("running_var", 0.5, 2),
            ):
                tensor: Tensor = getattr(layer, name).data
                tensor.uniform_(low, high, generator=generator)
    norms = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    dense = Dense(model.eval())
    with torch.no_grad():
        expected = dense(IMAGES).ltrb
        centernet2.optimize_for_inference(model)
        actual = dense(IMAGES).ltrb
    left = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    for ours, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-3 * float(wanted.std()))
    return len(norms) - len(left), len(left)


@pytest.mark.parametrize("family", FAMILY_PARAMS)
def test_optimized_networks_keep_outputs(family: str) -> None:
    name, options = FAMILIES[family]
    torch.manual_seed(0)
    model = centernet2.build_model(centernet2.load_config(name, list(options)))
    fused, _ = fused_count(model)
    assert fused or "timm" in family


@pytest.mark.parametrize(("name", "norm"), [
    *((name, norm) for name in QUICK_NETWORKS for norm in ("BN", "FrozenBN")),
    *(pytest.param(name, "BN", marks=pytest.mark.slow) for name in OTHER_NETWORKS),
    *(pytest.param(name, "FrozenBN", marks=pytest.mark.long) for name in OTHER_NETWORKS),
])  # fmt: skip
def test_norms_of_timm_networks_are_fused(name: str, norm: str) -> None:
    options = [
        "MODEL.BACKBONE.NAME", "timm", "MODEL.TIMM.NAME", name,
        "MODEL.RESNETS.NORM", norm, "MODEL.BACKBONE.FREEZE_AT", "0",
    ]  # fmt: skip
    torch.manual_seed(0)
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", options))
    fused, left = fused_count(model)
    assert left == 0 and (fused == 0) == (name in WITHOUT_BATCH_NORM)


def test_network_with_five_dimensional_weights_is_optimized() -> None:
    """Lambda layers have 3-D convolutions, which have no channels_last format."""
    options = ["MODEL.BACKBONE.NAME", "timm", "MODEL.TIMM.NAME", "lambda_resnet26t"]
    torch.manual_seed(0)
    model = centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", options))
    weights = [weight for weight in model.parameters() if weight.dim() == 5]
    assert weights and fused_count(model)[0]
    kernel = next(weight for weight in model.backbone.parameters() if weight.dim() == 4)
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_norms_fused_in_training_are_fused_into_weights() -> None:
    model = build("one-stage")
    assert sum(isinstance(layer, FusedConv2d) for layer in model.modules()) == 20
    assert fused_count(model) == (20, 0)
    assert not any(isinstance(layer, FusedConv2d | FusedNorm) for layer in model.modules())


def test_backbone_neck_and_head_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    model = build("two-stage")
    centernet2.optimize_for_inference(model, compile=True)
    assert compiled == [model.backbone, model.neck, model.proposal_generator.head]


def test_memory_of_replaced_weights_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are freed before the process keeps what is freed."""
    model = build("two-stage").eval()
    kept: list[int] = []

    def count_layers(device: torch.device) -> None:
        kept.append(sum(issubclass(type(each), nn.Conv2d) for each in gc.get_objects()))

    monkeypatch.setattr(optimize, "keep_freed_memory", count_layers)
    gc.collect()
    centernet2.optimize_for_inference(model)
    count_layers(torch.device("cpu"))
    assert kept[0] == kept[1]


def test_optimized_models_are_not_trained_saved_or_optimized_again(tmp_path: Path) -> None:
    images, targets = scene()
    model = centernet2.optimize_for_inference(build("two-stage"))
    assert not model.training and not model.eval().training
    uses = {
        "trained": (model.train, partial(model, images, targets)),
        "saved": (model.state_dict,
                  partial(centernet2.export_reference_checkpoint, model, tmp_path / "model.pth")),
        "optimized": (partial(centernet2.optimize_for_inference, model, dtype="bf16"),
                      partial(centernet2.optimize_for_training, model)),
    }  # fmt: skip
    for word, calls in uses.items():
        for call in calls:
            with pytest.raises(RuntimeError, match=f"can no longer be {word}: load it again"):
                call()
    assert not list(tmp_path.iterdir())


def test_model_of_training_becomes_channels_last() -> None:
    """With live batch normalization it trains contiguous on the CPU."""
    model = centernet2.build_model(
        centernet2.load_config(
            "CenterNet2_R18_small", ["MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0"]
        )
    )
    weight = model.backbone.body.layer1[0].conv1.weight  # type: ignore[union-attr, index]
    assert weight.is_contiguous()
    maps: list[Tensor] = []
    centernet2.optimize_for_inference(model)
    model.neck.register_forward_hook(lambda module, inputs, output: maps.extend(output.values()))
    model(scene()[0])
    assert maps and all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


def test_inference_after_training_with_recomputation() -> None:
    images, _ = scene()
    model = build("two-stage").train()
    centernet2.optimize_for_training(model, gradient_checkpointing=True)
    expected = build("two-stage").eval()(images)
    actual = centernet2.optimize_for_inference(model)(images)
    assert len(expected[0]["boxes"])
    for ours, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours["boxes"], wanted["boxes"], rtol=1e-3, atol=1e-2)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="'int8'; choose one of fp32, bf16, fp16"):
        centernet2.optimize_for_inference(build("two-stage"), dtype="int8")


@pytest.mark.parametrize(
    "function", [centernet2.optimize_for_inference, centernet2.optimize_for_training]
)
@pytest.mark.parametrize("model", ["a.pth", nn.ReLU()])
def test_other_model_is_refused(function: Callable[[Any], Detector], model: Any) -> None:
    wanted = (
        f"model is of type {type(model).__name__}; give a Detector, which centernet2.load_model"
    )
    with pytest.raises(ValueError, match=re.escape(wanted)):
        function(model)


@pytest.mark.long
def test_compiled_detector_keeps_detections() -> None:
    images, _ = scene()
    model = build("two-stage").eval()
    with torch.no_grad():
        expected = model(images)
        actual = centernet2.optimize_for_inference(model, compile=True)(images)
    for ours, wanted in zip(actual, expected, strict=True):
        keys = [(ours["boxes"], wanted["boxes"]), (ours["scores"], wanted["scores"])]
        for a, b in keys:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-2)
