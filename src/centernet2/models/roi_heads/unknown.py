"""Objects of no class: the first stage is certain of them, the second is not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.kernels import nms_per_class
from centernet2.models.roi_heads.box_stage import StageOutput
from centernet2.models.roi_heads.cascade import CascadeRoIHeads
from centernet2.ops.boxes import Size, clip_boxes, nonempty
from centernet2.ops.calibration import LEAST
from centernet2.ops.tensors import of_labels
from centernet2.structures import Proposals, UnknownObjects

SAME_OBJECT_IOU = 0.5  # from which two boxes are of one object


def unknown_objects(
    heads: CascadeRoIHeads,
    stages: Sequence[StageOutput],
    proposals: Sequence[Proposals],
    sizes: Sequence[Size],
) -> list[UnknownObjects]:
    """Return one box for each object of each image: that of its best proposal.

    The novelty is the entropy of the class probabilities: of an unknown object, several classes are
    a little probable. In the background none is, so its entropy is low.

    Args:
        stages: of the cascade, for all images together.
        proposals, sizes: of each image.
    """
    counts = [len(each.boxes) for each in proposals]
    p = heads.mean_probabilities(stages)  # [R, C]
    parts = torch.split(p, counts), torch.split(stages[-1].boxes, counts)
    return [_of_image(*row) for row in zip(*parts, proposals, sizes, strict=True)]


def _of_image(p: Tensor, boxes: Tensor, proposals: Proposals, size: Size) -> UnknownObjects:
    """Return the objects of one image.

    Args:
        p: [R, C].
        boxes: [R, K, 4], K is 1 or C.
        proposals: R rows, valid or not.
        size: (height, width) of the image.
    """
    labels, novelty = p.argmax(dim=1), -(p * p.clamp(min=LEAST).log()).sum(dim=1)
    rows = torch.arange(len(labels), device=labels.device)
    own = of_labels(boxes, labels)
    usable = proposals.valid & torch.isfinite(own).all(dim=1) & torch.isfinite(novelty)
    own = clip_boxes(own, size)
    rows = rows[usable & nonempty(own)]
    one_class = torch.zeros_like(labels[rows])
    rows = rows[nms_per_class(own[rows], proposals.scores[rows], one_class, SAME_OBJECT_IOU)]
    return UnknownObjects(own[rows], novelty[rows], proposals.scores[rows], labels[rows])
