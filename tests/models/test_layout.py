"""Memory format of feature maps, and number formats of layers, scores and losses."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from centernet2.builders.detector.loading import place
from centernet2.devices import autocast
from centernet2.layers import DeformConv2d
from centernet2.models.detector import Detector
from tests.helpers.networks import MODELS, build, scene

COPIES = ("aten::clone", "aten::_to_copy", "aten::copy_")
EXACT = {
    "sigmoid", "log", "log2", "exp", "sqrt", "rsqrt", "div", "_softmax", "_log_softmax", "maximum",
    "minimum",
}  # fmt: skip
LAST = torch.channels_last


class Rearrangements(TorchDispatchMode):
    """List the copies of feature maps into another memory format."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name in COPIES and out.dim() == 4:
            source = args[1] if func._schema.name == "aten::copy_" else args[0]
            if source.dim() == 4 and is_channels_last(source) != is_channels_last(out):
                self.copies.append((func._schema.name, tuple(out.shape)))
        return out


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("kind", MODELS)
def test_feature_maps_stay_channels_last(kind: str) -> None:
    """From behind the first convolution, which rearranges the image, to the head."""
    model = place(build(kind).eval(), torch.device("cpu"))
    seen: list[tuple[str, bool]] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(("image" if inputs[0].shape[1] == 3 else "map", is_channels_last(inputs[0])))
        seen.append(("map", is_channels_last(output)))

    parts = (model.backbone, model.neck, model.proposal_generator.head)
    for module in (
        module for part in parts for module in part.modules() if isinstance(module, nn.Conv2d)
    ):
        module.register_forward_hook(look)
    with torch.no_grad(), Rearrangements() as rearranged:
        features = model.neck(model.backbone(model.preprocess(scene()[0]).tensor))
        model.proposal_generator.head(model.proposal_generator.levels(features))
    assert Counter(seen) == {("image", False): 1, ("map", True): len(seen) - 1}
    assert not rearranged.copies


class Formats(TorchDispatchMode):
    """Count operators in lower precision that need float32."""

    def __init__(self) -> None:
        super().__init__()
        self.inexact: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name in EXACT and any(
            isinstance(x, Tensor) and x.dtype == torch.bfloat16 for x in tree_leaves(args)
        ):
            self.inexact[name] += 1
        return func(*args, **(kwargs or {}))


def formats_of_layers(model: Detector) -> dict[str, set[torch.dtype]]:
    """Record the number formats of layers' outputs by kind, whenever the model runs."""
    seen: dict[str, set[torch.dtype]] = {"layers": set(), "deformable": set()}

    def look_at(kind: str) -> Any:
        return lambda module, inputs, output: seen[kind].add(output.dtype)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(look_at("layers"))
        elif isinstance(module, DeformConv2d):
            module.register_forward_hook(look_at("deformable"))
    return seen


@pytest.mark.parametrize("kind", MODELS)
def test_only_layers_use_lower_precision(kind: str) -> None:
    images, targets = scene()
    model = place(build(kind).train(), torch.device("cpu"))
    seen = formats_of_layers(model)
    proposed: list[torch.dtype] = []
    model.proposal_generator.register_forward_hook(
        lambda module, inputs, output: proposed.extend(
            x.dtype for p in output[0] for x in (p.boxes, p.scores)
        )
    )
    with autocast(torch.device("cpu"), "bf16"), Formats() as formats:
        losses = model(images, targets)
        with torch.no_grad():
            detections = model.eval()(images)
    assert seen["layers"] == {torch.bfloat16}
    # sampling positions keep full precision
    assert seen["deformable"] <= {torch.bfloat16}
    assert {loss.dtype for loss in losses.values()} | set(proposed) == {torch.float32}
    assert {d[key].dtype for d in detections for key in ("boxes", "scores")} == {torch.float32}
    assert not formats.inexact
