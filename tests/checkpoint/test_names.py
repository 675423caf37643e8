"""The table of names is one to one and gives the reference's names."""

import pytest
import torch

from centernet2.checkpoint.names import join_scales, reference_names, to_reference

BLOCK = "backbone.body.layer2.0"
HEAD = "proposal_generator.head"
REFERENCE_HEAD = "proposal_generator.centernet_head"
PAIRS = {
    "backbone.body.conv1.weight": "backbone.bottom_up.stem.conv1.weight",
    "backbone.body.bn1.running_var": "backbone.bottom_up.stem.conv1.norm.running_var",
    f"{BLOCK}.conv2.weight": "backbone.bottom_up.res3.0.conv2.weight",
    f"{BLOCK}.bn2.bias": "backbone.bottom_up.res3.0.conv2.norm.bias",
    f"{BLOCK}.downsample.0.weight": "backbone.bottom_up.res3.0.shortcut.weight",
    f"{BLOCK}.downsample.1.weight": "backbone.bottom_up.res3.0.shortcut.norm.weight",
    "backbone.body.layer4.10.bn3.weight": "backbone.bottom_up.res5.10.conv3.norm.weight",
    "neck.lateral.p4.weight": "backbone.fpn_lateral4.weight",
    "neck.output.p5.bias": "backbone.fpn_output5.bias",
    "neck.lateral.p3.0.weight": "backbone.fpn_lateral3.weight",
    "neck.lateral.p3.1.weight": "backbone.fpn_lateral3.norm.weight",
    "neck.p6.weight": "backbone.top_block.p6.weight",
    "neck.p7.bias": "backbone.top_block.p7.bias",
    f"{HEAD}.bbox_tower.10.weight": f"{REFERENCE_HEAD}.bbox_tower.10.weight",
    f"{HEAD}.agn_hm.bias": f"{REFERENCE_HEAD}.agn_hm.bias",
    f"{HEAD}.cls_logits.bias": f"{REFERENCE_HEAD}.cls_logits.bias",
}
CASCADE = {
    f"roi_heads.stages.{k}.{ours}": reference.replace("K", str(k))
    for k in range(3)
    for ours, reference in {
        "box_head.fc1.weight": "roi_heads.box_head.K.fc1.weight",
        "cls_score.bias": "roi_heads.box_predictor.K.cls_score.bias",
        "bbox_pred.weight": "roi_heads.box_predictor.K.bbox_pred.weight",
        "class_weight": "roi_heads.box_predictor.K.freq_weight",
    }.items()
}
ONE_STAGE = {
    "roi_heads.stages.0.box_head.fc2.bias": "roi_heads.box_head.fc2.bias",
    "roi_heads.stages.0.cls_score.weight": "roi_heads.box_predictor.cls_score.weight",
    "roi_heads.stages.0.bbox_pred.bias": "roi_heads.box_predictor.bbox_pred.bias",
    "roi_heads.stages.0.class_weight": "roi_heads.box_predictor.freq_weight",
}


@pytest.mark.parametrize(
    "pairs", [PAIRS | CASCADE, PAIRS | ONE_STAGE], ids=["cascade", "one stage"]
)
def test_reference_names(pairs: dict[str, str]) -> None:
    names = reference_names(pairs)
    assert names == pairs
    assert len(set(names.values())) == len(names)


def test_unknown_names_stay() -> None:
    assert reference_names(["backbone.body.blocks.0.weight"]) == {
        "backbone.body.blocks.0.weight": "backbone.body.blocks.0.weight"
    }


def test_scales_split_and_join() -> None:
    scales = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    split = to_reference({"proposal_generator.head.scales": scales})
    assert split["proposal_generator.centernet_head.scales.10.scale"].tolist() == [11.0]
    joined = join_scales(dict(sorted(split.items())))  # as text, level 10 sorts before level 2
    assert list(joined) == ["proposal_generator.centernet_head.scales"]
    assert torch.equal(joined["proposal_generator.centernet_head.scales"], scales)


def test_federated_class_weights_are_written_twice() -> None:
    weight = torch.rand(5)
    state = to_reference({f"roi_heads.stages.{k}.class_weight": weight for k in range(2)})
    assert sorted(state) == [
        f"roi_heads.box_predictor.{k}.{leaf}"
        for k in range(2)
        for leaf in ("fed_loss_cls_weights", "freq_weight")
    ]
