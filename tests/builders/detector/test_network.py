"""Parameters of the reference, by name and shape; errors of options."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from centernet2.builders.detector.network import build_backbone_and_neck, build_detector
from centernet2.checkpoint.names import IGNORED, reference_names
from centernet2.config import Config, ConfigError, load_config

GOLDEN = Path(__file__).parents[2] / "golden"


def build(config: Config) -> nn.ModuleDict:
    backbone, neck = build_backbone_and_neck(config)
    return nn.ModuleDict({"backbone": backbone, "neck": neck})


def used(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith("backbone.") and not IGNORED.search(name)}


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


def test_unknown_architecture_is_refused() -> None:
    config = load_config("CenterNet2_R18_small", ["MODEL.META_ARCHITECTURE", "CenternetDetector"])
    message = "MODEL.META_ARCHITECTURE is 'CenternetDetector'; choose one of GeneralizedRCNN, "
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build_detector(config)


@pytest.mark.parametrize(("name", "key"), [
    ("CenterNet2_R18_small", "MODEL.RESNETS.NORM"),
    ("CenterNet2_R18_small", "MODEL.FPN.NORM"),
    ("CenterNet2_R18_small", "MODEL.CENTERNET.NORM"),
    ("CenterNet2_R18_small", "MODEL.ROI_BOX_HEAD.NORM"),
    ("CenterNet2_R18_small", "MODEL.ROI_MASK_HEAD.NORM"),
    ("CenterNet2_DLA-BiFPN-P3_4x", "MODEL.DLA.NORM"),
    ("CenterNet2_DLA-BiFPN-P3_4x", "MODEL.BIFPN.NORM"),
])  # fmt: skip
def test_unknown_norm_is_named_with_its_key(name: str, key: str) -> None:
    used = ["MODEL.MASK_ON", "True", "MODEL.ROI_BOX_HEAD.NUM_CONV", "1"]
    config = load_config(name, [*used, key, "Foo"])
    message = rf"norm is 'Foo'; choose one of '', 'BN', .*\(.*{key}.*\)"
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build_detector(config)
