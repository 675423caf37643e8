"""RoIAlign of a training step of two 640 x 853 images, against torchvision's.

python benchmarks/roi_align.py [--threads 2] [--runs 5]
"""

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from harness import compare
from torch import Tensor

from centernet2.kernels import pyramid_roi_align

STRIDES = (8, 16, 32, 64, 128)
HEIGHT, WIDTH, CHANNELS, SIZE, ROIS = 640, 853, 256, 7, 1024  # 512 RoIs of each image


def pyramid() -> list[Tensor]:
    return [torch.randn(2, CHANNELS, math.ceil(HEIGHT / s), math.ceil(WIDTH / s)) for s in STRIDES]


def rois_by_level() -> list[Tensor]:
    """Boxes of every size by level (arXiv 1612.03144, equation 1)."""
    side = torch.exp(torch.rand(ROIS) * math.log(600 / 16)) * 16
    aspect = torch.exp(torch.randn(ROIS) * 0.4)
    width, height = side * aspect, side / aspect
    x, y = torch.rand(ROIS) * WIDTH, torch.rand(ROIS) * HEIGHT
    limit = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    boxes = torch.stack(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1
    ).clamp(min=0)
    boxes = boxes.minimum(limit)
    size = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    level = (4 + torch.log2(size / 224 + 1e-8)).floor().clamp(3, 7).long() - 3
    rois = torch.cat([torch.arange(ROIS).remainder(2)[:, None], boxes], dim=1)
    return [rois[level == i] for i in range(len(STRIDES))]


def step(
    align: Callable[[Tensor, Tensor, float], Tensor], maps: list[Tensor], rois: list[Tensor]
) -> None:
    for feature, boxes, stride in zip(maps, rois, STRIDES, strict=True):
        feature = feature.detach().requires_grad_()
        align(feature, boxes, 1 / stride).square().sum().backward()


def ours(feature: Tensor, boxes: Tensor, scale: float) -> Tensor:
    level = torch.zeros(len(boxes), dtype=torch.long)
    return pyramid_roi_align(
        [feature], boxes, level, size=SIZE, scales=[scale], sampling_ratio=0, aligned=True
    )


def torchvision_roi_align(feature: Tensor, boxes: Tensor, scale: float) -> Tensor:
    return torchvision.ops.roi_align(feature, boxes, SIZE, scale, 0, True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    maps, rois = pyramid(), rois_by_level()
    works = {
        "ours": partial(step, ours, maps, rois),
        "torchvision": partial(step, torchvision_roi_align, maps, rois),
    }
    compare("roi_align_forward_backward", works, runs=options.runs, rois=ROIS, channels=CHANNELS)


if __name__ == "__main__":
    main()
