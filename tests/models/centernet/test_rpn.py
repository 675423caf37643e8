"""CenterNet as the first stage of another detector: torchvision's Faster R-CNN."""

import pytest
import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList

from centernet2.models.centernet import CenterNetRPN
from centernet2.structures import Target


def test_faster_rcnn_trains_with_centernet_rpn() -> None:
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    model = FasterRCNN(
        backbone, num_classes=3, min_size=96, max_size=96, box_batch_size_per_image=16
    ).train()
    model.rpn = CenterNetRPN(model.backbone.out_channels)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    images = [torch.rand(3, 64, 64), torch.rand(3, 48, 64)]
    boxes = [[[4.0, 4, 30, 45], [35, 10, 60, 30]], [[15.0, 5, 50, 40]]]
    labels = [[1, 2], [2]]
    targets = [
        {"boxes": torch.tensor(b), "labels": torch.tensor(c)}
        for b, c in zip(boxes, labels, strict=True)
    ]
    totals = []
    for _ in range(10):
        losses = model(images, targets)
        optimizer.zero_grad()
        total = sum(losses.values())
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert {"loss_centernet_loc", "loss_centernet_agn_pos", "loss_classifier"} <= losses.keys()
    assert sum(totals[-3:]) < 0.8 * sum(totals[:3])
    detections = model.eval()(images)
    assert [set(each) for each in detections] == [{"boxes", "labels", "scores"}] * 2


def test_every_level_needs_a_stride() -> None:
    rpn = CenterNetRPN(8, strides=(8, 16))
    features = {name: torch.zeros(1, 8, 4, 4) for name in ("p3", "p4", "p5")}
    with pytest.raises(ValueError, match=r"3 levels \(p3, p4, p5\), but there are 2 strides"):
        rpn.centernet.levels(features)


def test_one_level() -> None:
    rpn = CenterNetRPN(8, strides=(4,))
    images = ImageList(torch.zeros(1, 3, 32, 32), [(32, 32)])
    boxes = torch.tensor([[2.0, 2.0, 30.0, 28.0]])
    targets: list[Target] = [{"boxes": boxes, "labels": torch.tensor([1])}]
    _, losses = rpn.train()(images, {"p2": torch.zeros(1, 8, 8, 8)}, targets)
    assert losses and all(loss.isfinite() for loss in losses.values())
