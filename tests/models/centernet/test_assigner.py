"""Options of the first stage that do not fit together, and sizes of interest."""

import pytest
import torch

from centernet2.builders.detector.network import build_detector
from centernet2.config import ConfigError, load_config
from centernet2.models.centernet import (
    Assigner,
    AssignerOptions,
    CenterNet,
    CenterNetHead,
    Criterion,
    Decoder,
    sizes_for,
)
from centernet2.models.centernet.assigner import NO_LIMIT
from centernet2.models.preprocess import pad_target
from centernet2.structures import Target


def test_default_strides_have_default_sizes() -> None:
    assert sizes_for((8, 16, 32, 64, 128)) == AssignerOptions().sizes_of_interest


def test_sizes_of_one_and_two_levels() -> None:
    assert sizes_for((4,)) == ((0.0, NO_LIMIT),)
    assert sizes_for((8, 16)) == ((0.0, 80.0), (64.0, NO_LIMIT))


def test_one_size_of_interest_per_stride() -> None:
    with pytest.raises(ValueError, match="there are 2 strides and 5 sizes_of_interest"):
        Assigner((8, 16))


def test_no_more_positives_than_locations() -> None:
    options = AssignerOptions(
        sizes_of_interest=sizes_for((4,)), more_positives=True, more_positives_topk=10
    )
    with pytest.raises(ValueError, match="more_positives_topk is 10, but an object has 9"):
        Assigner((4,), options=options)


@pytest.mark.parametrize("clamp_boxes", [True, False])
@pytest.mark.parametrize("more_positives", [True, False])
def test_padding_has_no_targets(clamp_boxes: bool, more_positives: bool) -> None:
    """Without clipped boxes, centers outside of the image are moved in."""
    options = AssignerOptions(
        sizes_of_interest=sizes_for((8, 16)), clamp_boxes=clamp_boxes, more_positives=more_positives
    )
    assigner = Assigner((8, 16), options=options)
    ltrb = [torch.ones(1, 4, 16, 16), torch.ones(1, 4, 8, 8)]
    target: Target = {"boxes": torch.tensor([[10.0, 10, 40, 42]]), "labels": torch.tensor([0])}
    size = (128, 128)
    targets = assigner(ltrb, [size], [target])
    padded = assigner(ltrb, [size], [pad_target(target, size)])
    assert targets.positives.valid.any()
    chosen = (each.positives.locations[each.positives.valid] for each in (targets, padded))
    assert len({tuple(sorted(locations.tolist())) for locations in chosen}) == 1
    assert torch.equal(padded.heatmap, targets.heatmap)
    assert torch.equal(padded.ltrb, targets.ltrb)


def test_one_feature_map_per_stride() -> None:
    strides = (8, 16)
    assigner = Assigner(strides, options=AssignerOptions(sizes_of_interest=sizes_for(strides)))
    with pytest.raises(ValueError, match="there are 1 in_features and 2 strides"):
        CenterNet(CenterNetHead(8, 2), assigner, Criterion(), Decoder(strides), in_features=["p3"])


@pytest.mark.parametrize(("options", "message"), [
    (["MODEL.CENTERNET.WITH_AGN_HM", "False"],
     r"only_objectness needs objectness.*MODEL.CENTERNET.ONLY_PROPOSAL"),
    (["MODEL.CENTERNET.SOI", "[[0, 80]]"],
     r"5 strides and 1 sizes_of_interest.* \(.*MODEL.CENTERNET.SOI\)"),
    (["MODEL.CENTERNET.LOC_LOSS_TYPE", "l1"],
     r"box_loss is 'l1'; choose iou, .* \(MODEL.CENTERNET.LOC_LOSS_TYPE\)"),
    (["MODEL.RESNETS.DEPTH", "7"],
     r"depth is 7; choose 18, 34, 50, 101 or 152 \(MODEL.RESNETS.DEPTH\)"),
])  # fmt: skip
def test_builders_add_keys_to_errors_of_models(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_detector(load_config("CenterNet2_R50_1x", options))
