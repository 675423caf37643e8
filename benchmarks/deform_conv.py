"""Modulated deformable convolution, forward and backward, against torchvision's.

python benchmarks/deform_conv.py [--threads 2] [--runs 5] [--channels 128] [--side 80]
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from harness import compare
from torch import Tensor

from centernet2.kernels import deformable_conv2d

GEOMETRY = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}


def step(
    convolve: Callable[..., Tensor], inputs: list[Tensor], mask: Tensor, *, backward: bool
) -> None:
    inputs = [x.detach().requires_grad_(backward) for x in inputs]
    mask = mask.detach().requires_grad_(backward)
    with torch.set_grad_enabled(backward):
        out = convolve(*inputs, mask=mask, **GEOMETRY)
    if backward:
        out.square().sum().backward()


def main() -> None:
    """Print a line of JSON for the forward pass and one for both passes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--side", type=int, default=80)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    c, side = options.channels, options.side
    inputs = [
        torch.randn(1, c, side, side),
        torch.randn(1, 18, side, side),
        torch.randn(c, c, 3, 3) / 30,
        torch.zeros(c),
    ]
    mask = torch.rand(1, 9, side, side)
    for backward in (False, True):
        works = {
            "ours": partial(step, deformable_conv2d, inputs, mask, backward=backward),
            "torchvision": partial(
                step, torchvision.ops.deform_conv2d, inputs, mask, backward=backward
            ),
        }
        name = "deform_conv_forward_backward" if backward else "deform_conv_forward"
        compare(name, works, runs=options.runs, channels=c, side=side)


if __name__ == "__main__":
    main()
