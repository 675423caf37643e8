"""A 3 x 3 convolution, forward and backward, against PyTorch's.

python benchmarks/convolution.py [--channels 256] [--size 80 108] [--threads 2] [--runs 9]
"""

import argparse

import torch
from harness import compare
from torch import Tensor
from torch.nn import functional as F

from centernet2.kernels import conv2d, device_name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--size", nargs=2, type=int, default=[80, 108], help="height and width")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    random = torch.Generator().manual_seed(0)
    shapes = (2, options.channels, *options.size), (options.channels, options.channels, 3, 3)
    x, weight = (
        torch.randn(shape, generator=random)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for shape in shapes
    )
    bias = torch.randn(options.channels, generator=random).requires_grad_()

    def ours() -> Tensor:
        return conv2d(x, weight, bias, [1, 1, 1, 1, 1, 1, 1])

    def pytorch() -> Tensor:
        return F.conv2d(x, weight, bias, padding=1)

    grad = torch.randn(ours().shape, generator=random).contiguous(memory_format=torch.channels_last)
    spread = pytorch().std()
    details = {
        "instructions": device_name(x.device),
        "channels": options.channels,
        "size": options.size,
        "error": f"{float((ours() - pytorch()).abs().max() / spread):.1e} of the spread",
    }
    forward = {"ours": ours, "torch": pytorch}
    both = {name: lambda work=work: work().backward(grad) for name, work in forward.items()}
    for name, works in {
        "convolution_forward": forward,
        "convolution_forward_and_backward": both,
    }.items():
        compare(name, works, runs=options.runs, **details)


if __name__ == "__main__":
    main()
