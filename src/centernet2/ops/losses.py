"""Loss functions, all in float32, which logarithms and ratios of areas need."""

import torch
from torch import Tensor
from torch.nn import functional as F

BOX_IOU_LOSSES = {  # functions of torchvision.ops
    "giou": "generalized_box_iou_loss",
    "diou": "distance_box_iou_loss",
    "ciou": "complete_box_iou_loss",
}


def heatmap_focal_loss(
    logits: Tensor,
    heatmap: Tensor,
    positives: Tensor,
    valid: Tensor,
    *,
    alpha: float,
    beta: float,
    gamma: float,
    sigmoid_clamp: float,
    ignore_high_fp: float,
) -> tuple[Tensor, Tensor]:
    """Compute the penalty-reduced focal loss of CornerNet and CenterNet.

    arXiv 1808.01244, equation 1, and arXiv 1904.07850, equation 1.

    Args:
        logits: scores before the sigmoid, any shape.
        heatmap: targets in 0..1, of the logits' shape: 1 at an object's center, less around it.
        positives: [P] indices of the positives in the flattened logits; an index may repeat.
        valid: [P] bool: the others are padding.
        alpha: weight of positives; negatives have 1 - alpha. Below 0: both have 1.
        beta: exponent that reduces the loss of negatives near a center.
        gamma: focusing exponent.
        sigmoid_clamp: minimum distance of probabilities from 0 and 1.
        ignore_high_fp: negatives with a higher score are ignored as unlabeled objects; 0 or below:
            none.

    Returns:
        The sums of the positive and of the negative losses.
    """
    probability = logits.float().sigmoid().clamp(sigmoid_clamp, 1 - sigmoid_clamp)
    at_positives = probability.flatten()[positives]
    positive_loss = -(at_positives.log() * (1 - at_positives) ** gamma * valid).sum()
    negative_loss = (1 - probability).log() * probability**gamma * (1 - heatmap.float()) ** beta
    if ignore_high_fp > 0:
        negative_loss = negative_loss * (probability < ignore_high_fp)
    if alpha < 0:
        return positive_loss, -negative_loss.sum()
    return alpha * positive_loss, -(1 - alpha) * negative_loss.sum()


def ltrb_iou_loss(prediction: Tensor, target: Tensor, kind: str) -> Tensor:
    """Compute the IoU loss [M] of boxes given as distances ltrb [M, 4].

    Distances are in units of the stride. `kind` is "iou" (arXiv 1608.01471), "linear_iou" or "giou"
    (arXiv 1902.09630). Adding 1 to both areas keeps the loss of empty boxes finite, as in FCOS
    (arXiv 1904.01355).
    """
    prediction, target = prediction.float(), target.float()
    intersection = _ltrb_area(torch.min(prediction, target))
    enclosing = _ltrb_area(torch.max(prediction, target))
    union = _ltrb_area(prediction) + _ltrb_area(target) - intersection
    iou = (intersection + 1) / (union + 1)
    if kind == "iou":
        return -iou.log()
    if kind == "linear_iou":
        return 1 - iou
    if kind == "giou":
        return 1 - (iou - (enclosing - union) / enclosing)
    raise ValueError(f"kind is '{kind}'; choose 'iou', 'linear_iou' or 'giou'")


def box_regression_loss(deltas: Tensor, target_deltas: Tensor, beta: float) -> Tensor:
    """Compute the smooth L1 loss [R], summed over deltas [R, 4]; `beta` 0 is L1."""
    return F.smooth_l1_loss(deltas.float(), target_deltas.float(), reduction="none", beta=beta).sum(
        dim=1
    )


def box_iou_loss(boxes: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Compute the IoU loss [R] of boxes [R, 4], of a kind of BOX_IOU_LOSSES."""
    from torchvision import ops  # for training alone: the import takes a second

    loss: Tensor = getattr(ops, BOX_IOU_LOSSES[kind])(boxes, targets)
    return loss


def sigmoid_classification_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    class_weights: Tensor | None,
    unknown: Tensor | None = None,
) -> Tensor:
    """Compute binary cross-entropy, summed over classes and averaged over RoIs.

    Args:
        logits: [R, C + 1]; the last column, background, is not used.
        labels: [R] in 0..C, with C for background.
        weights: [R]; 0 for padding.
        class_weights: [C]; None: all 1.
        unknown: [R, C] bool: classes that background may be, as they were not labelled in the
            image of the RoI; None: all classes were.
    """
    target = F.one_hot(labels, logits.shape[1])[:, :-1].float()  # [R, C]
    loss = F.binary_cross_entropy_with_logits(logits[:, :-1].float(), target, reduction="none")
    if class_weights is not None:
        loss = loss * class_weights
    if unknown is not None:  # an object of a known class is of no other one
        is_background = (labels == unknown.shape[1])[:, None]
        loss = loss.masked_fill(unknown & is_background, 0.0)
    return (loss.sum(dim=1) * weights).sum() / weights.sum().clamp(min=1)


def softmax_classification_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    class_weights: Tensor | None,
    unknown: Tensor | None = None,
) -> Tensor:
    """Compute cross-entropy averaged over RoIs; see `sigmoid_classification_loss`.

    Where classes are unknown, background stands for all of them: the loss is that of the sum of
    their probabilities (arXiv 2002.00718, equation 5).
    """
    if class_weights is not None:
        background = class_weights.new_ones(1)
        weights = weights * torch.cat([class_weights, background])[labels]
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, reduction="none")
    if unknown is not None:
        excluded = F.pad(~unknown, (0, 1), value=False)  # [R, C + 1]
        rest = logits.masked_fill(excluded, -torch.inf).logsumexp(dim=1)
        is_background = labels == unknown.shape[1]
        loss = torch.where(is_background, logits.logsumexp(dim=1) - rest, loss)
    return (loss * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _ltrb_area(ltrb: Tensor) -> Tensor:
    return (ltrb[:, 0] + ltrb[:, 2]) * (ltrb[:, 1] + ltrb[:, 3])
