"""Parameters of every backbone and neck: the reference's, by name and shape."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from centernet2.builders.network import build_backbone_and_neck
from centernet2.checkpoint.names import IGNORED, reference_names
from centernet2.config import Config, load_config

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
    backbone, neck = build_backbone_and_neck(config)
    return nn.ModuleDict({"backbone": backbone, "neck": neck})


def used(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith("backbone.") and not IGNORED.search(name)}


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_parameters_of_the_reference(name: str) -> None:
    with torch.device("meta"):
        model = build(load_config(name))
    names = reference_names(model.state_dict())
    frozen = {
        names[key] for key, parameter in model.named_parameters() if not parameter.requires_grad
    }
    golden: Any = np.load(GOLDEN / f"{name}.train.npz")
    assert used(names[key] for key, _ in model.named_parameters()) == used(
        [*golden["grad_names"], *golden["frozen"]]
    )
    assert frozen == used(golden["frozen"])


@pytest.mark.parametrize(
    "name", sorted(path.name.removesuffix(".eval.npz") for path in GOLDEN.glob("*.eval.npz"))
)
def test_state_dict_of_the_reference(name: str, shared: Path) -> None:
    with torch.device("meta"):
        state = build(load_config(name)).state_dict()
    names = reference_names(state)
    golden = json.loads((shared / "golden" / "state_dicts" / f"{name}.json").read_text())
    assert len(set(names.values())) == len(names)
    assert {names[key]: list(x.shape) for key, x in state.items() if not IGNORED.search(key)} == {
        key: shape for key, shape in golden.items() if key in used(golden)
    }
