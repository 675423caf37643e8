"""Weighted boxes fusion by hand."""

import pytest
import torch

from centernet2.ops.fusion import weighted_box_fusion
from tests.helpers.pretend import DEVICE, PretendDevice


def test_boxes_are_averaged_by_score() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60], [0, 0, 10, 10]])
    scores, labels = torch.tensor([0.6, 0.2, 0.9, 0.5]), torch.tensor([3, 3, 3, 4])
    fused, means, classes = weighted_box_fusion(
        boxes, scores, labels, iou_threshold=0.55, num_models=2
    )
    assert classes.tolist() == [3, 3, 4]
    # detected by one model of two, by both, by one
    assert means.tolist() == pytest.approx([0.45, 0.4, 0.25])
    assert fused[0].tolist() == [50, 50, 60, 60]
    assert fused[1].tolist() == pytest.approx([0, 0, 10, (0.6 * 10 + 0.2 * 12) / 0.8])


def test_extra_boxes_do_not_raise_the_score() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1)
    _, means, _ = weighted_box_fusion(
        boxes, torch.tensor([0.9, 0.6, 0.3]), torch.zeros(3, dtype=torch.int64), iou_threshold=0.5,
        num_models=2,
    )  # fmt: skip
    assert means.tolist() == pytest.approx([0.6])


def test_no_boxes_are_fused_to_none() -> None:
    empty = torch.zeros(0)
    fused, means, classes = weighted_box_fusion(
        torch.zeros(0, 4), empty, empty.long(), iou_threshold=0.5, num_models=2
    )
    assert fused.shape == (0, 4) and means.shape == (0,) and classes.dtype == torch.int64


def test_devices_copy_their_boxes_once() -> None:
    """They compute nothing: some have no float64."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60]])
    scores, labels = torch.tensor([0.6, 0.2, 0.9]), torch.tensor([3, 3, 4])
    options = {"iou_threshold": 0.55, "num_models": 2}
    expected = weighted_box_fusion(boxes, scores, labels, **options)  # type: ignore[arg-type]
    with PretendDevice() as pretend:
        given = [x.to(DEVICE) for x in (boxes, scores, labels)]
        pretend.waits.clear()
        fused = weighted_box_fusion(*given, **options)  # type: ignore[arg-type]
        assert pretend.waits == {"to the host": 3, "to the device": 3}
        for ours, wanted in zip(fused, expected, strict=True):
            assert ours.dtype == wanted.dtype
            torch.testing.assert_close(ours.cpu(), wanted)
