"""Operators of torchvision: the same results without importing torchvision."""

import subprocess
import sys

import pytest
import torch
import torchvision

from centernet2.kernels import vendor

WITHOUT_IMPORT = """
import sys, torch
from centernet2.kernels.vendor import load_torchvision_operators
load_torchvision_operators()
boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4.5], [8, 8, 9, 9]])
assert torch.ops.torchvision.nms(boxes, torch.tensor([3.0, 2, 1]), 0.5).tolist() == [0, 2]
assert "torchvision" not in sys.modules
import torchvision
x = torch.rand(1, 2, 8, 8, requires_grad=True)
rois = torch.tensor([[0.0, 1, 1, 6, 6]])
torchvision.ops.roi_align(x, rois, 2).sum().backward()
assert x.grad.sum() > 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there, torchvision is imported")
def test_operators_work_before_and_after_the_import() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_IMPORT], check=True)


def test_classes_do_not_meet_outside_of_the_image() -> None:
    """A first stage that predicts classes proposes boxes with negative coordinates."""
    boxes = torch.tensor([[709.0, 709, 1000, 1000], [-292, -292, 20, 20]])
    scores, labels = torch.tensor([0.9, 0.8]), torch.tensor([0, 1])
    assert vendor.kept_by_torchvision(boxes, scores, labels, 0.6).all()


def test_last_of_many_classes_is_not_rounded() -> None:
    """IoUs are 0.5 and a little more or less, in pixels of an image of the usual size."""
    shift = 16 / 3 + torch.linspace(-0.01, 0.01, 21)  # of boxes 16 wide: an IoU of 1 / 2
    low = torch.tensor([[700.0, 400.0]]) + 40 * torch.arange(21)[:, None]
    first = torch.cat([low, low + 16], dim=1)
    second = first + torch.stack([shift, 0 * shift, shift, 0 * shift], dim=1)
    boxes = torch.cat([first, second, torch.tensor([[0.0, 0, 1333, 800]])])
    scores = torch.linspace(1, 0.5, len(boxes))
    labels = torch.full((len(boxes),), 1202)
    labels[-1] = 0
    kept = vendor.kept_by_torchvision(boxes, scores, labels, 0.5)
    assert torch.equal(kept[:-1], vendor.kept_by_torchvision(boxes[:-1], scores[:-1], None, 0.5))


@pytest.mark.parametrize("count", [0, 1, 300, 1000, 1001, 1500])
def test_nms_per_class_equals_that_of_torchvision(count: int) -> None:
    torch.manual_seed(count)
    corners = torch.rand(count, 2) * 60
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(count, 2)], dim=1)
    scores = torch.rand(count).sort(descending=True).values
    labels = torch.randint(0, 3, (count,))
    kept = vendor.kept_by_torchvision(boxes, scores, labels, 0.6)
    expected = torchvision.ops.batched_nms(boxes, scores, labels, 0.6)
    assert kept.nonzero().squeeze(1).tolist() == sorted(expected.tolist())
