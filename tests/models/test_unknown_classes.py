"""Classes that were not labelled in an image are unknown there, in both stages."""

import pytest
import torch

from centernet2.models.centernet import Assigner, AssignerOptions, Criterion, HeadOutput, sizes_for
from centernet2.models.roi_heads.sampling import append_ground_truth, match, unknown_classes
from centernet2.ops.losses import sigmoid_classification_loss, softmax_classification_loss
from centernet2.structures import Proposals, Target
from tests.helpers.jobs import build_untrained

CLASSES, BACKGROUND = 3, 3
UNKNOWN = torch.tensor([[True, False, True]]).expand(4, -1)  # classes 0 and 2
LABELS = torch.tensor([BACKGROUND, BACKGROUND, 1, 0])
LOSSES = (softmax_classification_loss, sigmoid_classification_loss)


def make_logits() -> torch.Tensor:
    return torch.randn(4, CLASSES + 1, generator=torch.Generator().manual_seed(0))


def test_sigmoids_of_unknown_classes_get_no_gradient_from_background() -> None:
    logits = make_logits().requires_grad_()
    sigmoid_classification_loss(logits, LABELS, torch.ones(4), None, UNKNOWN).backward()
    assert logits.grad is not None
    assert (logits.grad[:2, [0, 2]] == 0).all() and (logits.grad[:2, 1] != 0).all()
    assert (logits.grad[2:, :3] != 0).all()  # an object of one class is of no other


def test_softmax_takes_unknown_classes_and_background_together() -> None:
    logits, one = make_logits(), torch.tensor([1.0, 0, 0, 0])
    loss = softmax_classification_loss(logits, LABELS, one, None, UNKNOWN)
    p = logits[0].softmax(dim=0)
    assert torch.isclose(loss, -(p[0] + p[2] + p[BACKGROUND]).log())
    exchanged = logits[:, [BACKGROUND, 1, 0, 2]]
    again = softmax_classification_loss(exchanged, LABELS, one, None, UNKNOWN)
    assert torch.isclose(loss, again)
    assert loss < softmax_classification_loss(logits, LABELS, one, None)


@pytest.mark.parametrize("loss", LOSSES)
def test_known_classes_change_nothing(loss: type[softmax_classification_loss]) -> None:
    known, weights = torch.zeros(4, CLASSES, dtype=torch.bool), torch.ones(4)
    both = [loss(make_logits(), LABELS, weights, None, unknown) for unknown in (None, known)]
    assert torch.isclose(*both)


def test_uncertain_objects_are_neither_targets_nor_background() -> None:
    """The second object is uncertain: it has a peak in the heat map, and nothing else."""
    boxes = torch.tensor([[4.0, 4, 28, 28], [36, 36, 60, 60]])
    target: Target = {"boxes": boxes, "labels": torch.tensor([1, 0])}
    uncertain: Target = {**target, "uncertain": torch.tensor([False, True])}
    assigner = Assigner((8,), options=AssignerOptions(sizes_of_interest=sizes_for((8,))))
    ltrb = [torch.zeros(1, 4, 8, 8)]
    certain, own = (assigner(ltrb, [(64, 64)], [each]) for each in (target, uncertain))
    assert torch.equal(own.heatmap, certain.heatmap)
    assert certain.positives.valid.sum() == 2 and own.positives.valid.tolist() == [True, False]
    assert (own.ltrb.amax(dim=1) >= 0).sum() < (certain.ltrb.amax(dim=1) >= 0).sum()
    every = torch.ones(2, dtype=torch.bool)
    assert match(boxes, every, uncertain, 0.5, CLASSES).labels.tolist() == [1, BACKGROUND]
    proposals = Proposals(boxes, torch.ones(2), torch.zeros(2, dtype=torch.int64), every)
    assert append_ground_truth(proposals, uncertain).valid.tolist() == [True, True, True, False]


def test_region_of_an_uncertain_object_may_be_of_its_class() -> None:
    """The second object is uncertain: boxes on it are of class 0 or background."""
    boxes = torch.tensor([[4.0, 4, 28, 28], [36, 36, 60, 60]])
    target: Target = {"boxes": boxes, "labels": torch.tensor([1, 0])}
    rois = match(boxes, torch.ones(2, dtype=torch.bool), target, 0.5, CLASSES)
    assert unknown_classes([rois], [target], 0.5, CLASSES) is None
    target = {**target, "uncertain": torch.tensor([False, True])}
    unknown = unknown_classes([rois], [target], 0.5, CLASSES)
    assert unknown is not None and unknown.tolist() == [[False] * 3, [True, False, False]]
    elsewhere = rois._replace(boxes=boxes + 20)
    unknown = unknown_classes([elsewhere], [{**target, "unknown": UNKNOWN[0]}], 0.5, CLASSES)
    assert unknown is not None and unknown.tolist() == [[True, False, True]] * 2


def test_heat_map_of_an_unknown_class_gets_no_gradient() -> None:
    target: Target = {
        "boxes": torch.tensor([[4.0, 4, 28, 28]]),
        "labels": torch.tensor([1]),
        "unknown": UNKNOWN[0],
    }
    every: Target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    logits = torch.zeros(2, CLASSES, 8, 8, requires_grad=True)
    ltrb = [torch.ones(2, 4, 8, 8)]
    assigner = Assigner((8,), CLASSES, AssignerOptions(sizes_of_interest=sizes_for((8,))))
    targets = assigner(ltrb, [(64, 64)] * 2, [target, every])
    losses = Criterion()(HeadOutput([logits], None, ltrb), targets)
    (losses["loss_centernet_pos"] + losses["loss_centernet_neg"]).backward()
    assert logits.grad is not None
    assert (logits.grad[0, [0, 2]] == 0).all() and (logits.grad[0, 1] != 0).any()
    assert (logits.grad[1] != 0).all()  # the other image has labels of all classes


@pytest.mark.parametrize("static_shapes", [False, True])
def test_image_without_objects_leaves_unknown_classes_alone(static_shapes: bool) -> None:
    """All RoIs are background: the rows of unknown classes get no gradient in any stage."""
    model = build_untrained("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True", classes=CLASSES).train()
    if static_shapes:
        model.use_static_shapes([(64, 64)])
    target: Target = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "unknown": UNKNOWN[0],
        "uncertain": torch.zeros(0, dtype=torch.bool),
    }
    losses = model([torch.full((3, 64, 64), 90, dtype=torch.uint8)], [target])
    assert isinstance(losses, dict)
    torch.stack([value for name, value in losses.items() if "cls" in name]).sum().backward()
    assert model.roi_heads is not None
    for stage in model.roi_heads.stages:
        gradient = stage.cls_score.weight.grad  # type: ignore[union-attr]
        assert (gradient[[0, 2]] == 0).all() and (gradient[1] != 0).any()
