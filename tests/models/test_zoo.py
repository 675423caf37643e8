"""Backbone and neck of every configuration: the reference's parameters, and its numbers under deterministic weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from centernet2.build import build_backbone
from centernet2.checkpoint.names import IGNORED, reference_names
from centernet2.config import Config, load_config
from centernet2.models.detector import Preprocess
from tests.fill import fill, picture

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = (
    "CenterNet-FPN_R50_1x",
    "CenterNet-S4_DLA_8x",
    "CenterNet2_DLA-BiFPN-P3_4x",
    "CenterNet2_DLA-BiFPN-P5_640_16x",
    "CenterNet2_DLA-fcosBiFPN-P5_640_16x_ST",
    "nuImages_CenterNet2_DLA_640_8x",
)
LARGE = (
    "CenterNet2_R2-101-DCN-BiFPN_1280_4x",
    "CenterNet2_R2-101-DCN_896_4x",
    "CenterNet2_X101-DCN_2x",
)


def build(config: Config) -> nn.ModuleDict:
    backbone, neck = build_backbone(config)
    return nn.ModuleDict({"backbone": backbone, "neck": neck})


def used(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith("backbone.") and not IGNORED.search(name)}


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_parameters_of_the_reference(name: str) -> None:
    with torch.device("meta"):
        model = build(load_config(name))
    names = reference_names(model.state_dict())
    frozen = {names[key] for key, parameter in model.named_parameters() if not parameter.requires_grad}
    golden: Any = np.load(GOLDEN / f"{name}.train.npz")
    assert used(names[key] for key, _ in model.named_parameters()) == used([*golden["grad_names"], *golden["frozen"]])
    assert frozen == used(golden["frozen"])


@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".eval.npz") for path in GOLDEN.glob("*.eval.npz")))
def test_state_dict_of_the_reference(name: str, shared: Path) -> None:
    with torch.device("meta"):
        state = build(load_config(name)).state_dict()
    names = reference_names(state)
    golden = json.loads((shared / "golden" / "state_dicts" / f"{name}.json").read_text())
    assert len(set(names.values())) == len(names)
    assert {names[key]: list(x.shape) for key, x in state.items() if not IGNORED.search(key)} == {
        key: shape for key, shape in golden.items() if key in used(golden)
    }


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_features_of_the_reference(name: str) -> None:
    config = load_config(name)
    model = build(config).eval()
    names = reference_names(model.state_dict())
    state = {key: torch.from_numpy(np.asarray(fill(names[key], x.shape))) for key, x in model.state_dict().items()}
    model.load_state_dict(state)
    with torch.inference_mode():
        pyramid = model["neck"](model["backbone"](images(config, model["neck"])))
    golden: Any = np.load(GOLDEN / f"{name}.eval.npz")
    for level, x in pyramid.items():
        corner = torch.from_numpy(golden[f"feature_{level}_corner"])
        mean, std = golden[f"feature_{level}_mean_std"]
        torch.testing.assert_close(x[:, :8, :6, :6], corner, rtol=0, atol=1e-3 * std)
        assert x.mean().item() == pytest.approx(mean, abs=1e-3 * std)
        assert x.std().item() == pytest.approx(std, rel=1e-3)


def images(config: Config, neck: nn.Module) -> Tensor:
    options = vars(config.preprocess)
    if config.model.meta_architecture == "CenterNetDetector":  # the only ones whose weights hold the normalisation
        options = options | {key: fill(key, (3, 1, 1)).ravel() for key in ("pixel_mean", "pixel_std")}
    pictures = [picture(1, 192, 256)[0], picture(2, 160, 224)[0]]
    preprocess = Preprocess(size_divisibility=neck.size_divisibility, **options)
    return preprocess([torch.from_numpy(x).permute(2, 0, 1) for x in pictures]).tensor
