"""The heat map drawn peak by peak against its definition."""

import pytest
import torch

from centernet2.kernels import heatmap_cpu
from centernet2.models.centernet.targets import Objects, heatmap_targets, make_levels, squared_radii


def objects(count: int, num_images: int, num_classes: int) -> Objects:
    """Boxes of every size, some of them outside the image."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.rand(count, 2, generator=generator) * 200 - 20
    sizes = torch.exp(torch.rand(count, 2, generator=generator) * 4.5 + 1)
    boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1)
    labels = torch.randint(num_classes, (count,), generator=generator)
    images = torch.randint(num_images, (count,), generator=generator)
    return Objects(boxes, labels, images, torch.ones(count, dtype=torch.bool))


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("num_classes", [None, 5])
@pytest.mark.parametrize("min_radius", [0.1, 4.0])
def test_single_peaks_equal_the_definition(
    count: int, num_classes: int | None, min_radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = objects(count, 2, num_classes or 5)
    levels = make_levels([(40, 44), (20, 22), (2, 1)], [4, 8, 128], [(0, 1e8)] * 3, 2)
    radius = squared_radii(targets.boxes, 0.8, min_radius)
    maps = []
    for cost in (-1, 10**9):
        monkeypatch.setattr(heatmap_cpu, "PEAK_COST", cost if count else -cost)
        maps.append(heatmap_targets(targets, levels, 2, num_classes, radius))
    assert torch.equal(*maps)
    assert (
        (maps[0].amax() == 1)
        if count == 40
        else maps[0].shape == (2 * (1760 + 440 + 2), num_classes or 1)
    )
