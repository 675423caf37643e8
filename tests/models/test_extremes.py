"""Training steps with no object, a thousand objects, and empty boxes."""

import pytest
import torch

import centernet2
from centernet2.models.detector import Detector
from centernet2.structures import Target

# the options of each kind of detector
KINDS = {
    "two stages": [],
    "one stage": [
        "MODEL.META_ARCHITECTURE", "CenterNetDetector", "MODEL.CENTERNET.ONLY_PROPOSAL", "False",
        "MODEL.CENTERNET.WITH_AGN_HM", "False", "MODEL.CENTERNET.NUM_CLS_CONVS", "1",
    ],
    "more positives": ["MODEL.CENTERNET.MORE_POS", "True"],
    "federated": [
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True",
    ],
    "masks": ["MODEL.MASK_ON", "True"],
    "deformable": ["MODEL.CENTERNET.USE_DEFORMABLE", "True"],
    "one RoI stage": ["MODEL.ROI_HEADS.NAME", "CustomROIHeads"],
}  # fmt: skip


def detector(kind: str) -> Detector:
    torch.manual_seed(0)
    config = centernet2.load_config("CenterNet2_R18_small", KINDS[kind])
    return centernet2.build_model(config).train()


def objects(count: int, *, size: int = 96) -> Target:
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, generator=generator) * (size - 8)
    sides = 4 + torch.rand(count, 2, generator=generator) * (size - 4 - corners)
    boxes = torch.cat([corners, corners + sides], dim=1)
    labels = torch.randint(80, (count,), generator=generator)
    masks = torch.ones(count, size, size, dtype=torch.bool)
    return {"boxes": boxes, "labels": labels, "masks": masks}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "counts", [(0, 0), (0, 3), (1000, 0)], ids=["no object", "few objects", "1,000 objects"]
)
def test_gradients_are_finite_and_complete(kind: str, counts: tuple[int, int]) -> None:
    """Distributed training waits for the gradients of all parameters."""
    model = detector(kind)
    images = [torch.randint(256, (3, 96, 96), dtype=torch.uint8) for _ in counts]
    losses = model(images, [objects(count) for count in counts])
    assert isinstance(losses, dict) and all(x.isfinite() for x in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_objects_without_extent_at_border(kind: str) -> None:
    """Clipping and rounding may leave such objects."""
    model = detector(kind)
    boxes = torch.tensor(
        [[0.0, 0, 0.5, 0.5], [95.9, 95.9, 96, 96], [0, 0, 96, 96], [40, 40, 40.01, 60]]
    )
    masks = torch.zeros(4, 96, 96, dtype=torch.bool)
    target: Target = {"boxes": boxes, "labels": torch.arange(4), "masks": masks}
    losses = model([torch.zeros(3, 96, 96, dtype=torch.uint8)], [target])
    assert isinstance(losses, dict) and all(x.isfinite() for x in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
