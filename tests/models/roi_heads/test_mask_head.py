"""The mask head: names and edge cases; tests/test_reference.py has its numbers."""

import json
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.checkpoint import load_weights, read_weights
from centernet2.checkpoint.names import IGNORED, to_reference
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import MaskHead, MaskHeadOptions
from centernet2.structures import Target
from tests.helpers.reference import ellipses

NAME = "nuImages_CenterNet2_DLA_640_8x"
MASK_ON = [
    "MODEL.MASK_ON", "True", "MODEL.ROI_MASK_HEAD.NUM_CONV", "2",
    "MODEL.ROI_MASK_HEAD.CONV_DIM", "16",
]  # fmt: skip


def test_names_match_the_reference_both_ways(shared: Path, tmp_path: Path) -> None:
    golden = json.loads((shared / "golden" / "state_dicts" / f"{NAME}.json").read_text())
    model = centernet2.build_model(NAME)
    state = to_reference(model.state_dict())
    wanted = {key: shape for key, shape in golden.items() if not IGNORED.search(key)}
    assert {key: list(x.shape) for key, x in state.items() if not IGNORED.search(key)} == wanted
    torch.save(
        {"model": {key: torch.full(shape, 0.25) for key, shape in golden.items()}},
        tmp_path / "reference.pth",
    )
    report = load_weights(model, read_weights(tmp_path / "reference.pth"))
    assert not (report.skipped or report.reinitialized or report.mismatched)
    assert model.roi_heads is not None and model.roi_heads.mask_branch is not None
    assert (model.roi_heads.mask_branch.head.deconv.weight == 0.25).all()


@pytest.mark.parametrize("norm", ["", "BN"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_shapes_and_names(norm: str, agnostic: bool) -> None:
    options = MaskHeadOptions(num_conv=2, conv_dim=6, norm=norm, class_agnostic=agnostic)
    head = MaskHead(8, 5, options)
    assert head(torch.randn(3, 8, 14, 14)).shape == (3, 1 if agnostic else 5, 28, 28)
    names = set(
        to_reference(
            {f"roi_heads.mask_branch.head.{key}": x for key, x in head.state_dict().items()}
        )
    )
    assert names >= {
        f"roi_heads.mask_head.{layer}.weight" for layer in ("mask_fcn1", "deconv", "predictor")
    }
    assert ("roi_heads.mask_head.mask_fcn2.norm.running_mean" in names) == (norm == "BN")


@pytest.fixture(scope="module")
def small() -> Detector:
    return centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", MASK_ON))


def test_images_without_objects(small: Detector) -> None:
    empty: Target = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 96, dtype=torch.bool),
    }
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 10, 50, 50]])
    full: Target = {"boxes": boxes, "labels": torch.tensor([0]), "masks": ellipses(boxes, 64, 96)}
    for targets in ([empty], [empty, full]):
        losses = small.train()([image] * len(targets), targets)
        assert all(loss.isfinite() for loss in losses.values())
        assert (losses["loss_mask"].item() > 0) == (len(targets) == 2)
        sum(losses.values()).backward()
    with torch.no_grad():  # an untrained detector scores nothing above the threshold
        (found,) = small.eval()([image])
    assert found["masks"].shape == (len(found["boxes"]), 64, 96)


def test_error_for_targets_without_masks(small: Detector) -> None:
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    target: Target = {"boxes": torch.tensor([[1.0, 2, 30, 40]]), "labels": torch.tensor([0])}
    with pytest.raises(ValueError, match=r"needs 'masks' \[1, 64, 96\]"):
        small.train()([image], [target])
    with pytest.raises(ValueError, match=r"\[1, 64, 96\], not \[1, 32, 96\]"):
        small.train()([image], [{**target, "masks": torch.ones(1, 32, 96, dtype=torch.bool)}])


def test_one_stage_detector_has_no_masks() -> None:
    with pytest.raises(centernet2.ConfigError, match="second stage"):
        centernet2.build_model(
            centernet2.load_config("CenterNet-FPN_R50_1x", ["MODEL.MASK_ON", "True"])
        )
