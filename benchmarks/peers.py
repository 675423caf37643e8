"""A detector of ours in turn with torchvision's Faster R-CNN v2 and RetinaNet v2.

python benchmarks/peers.py inference|training [--config-file NAME] [--size 800 1216] [--runs 5]
    [--threads 2]

All run eagerly on the same images in one process: ours as `predict` and `train` run it, those of
torchvision as its documentation calls them. Weights are random, so that the first stages select as
many boxes as they may. A training step is a forward and a backward pass on two images with 12
objects each. With --threads 1, processor time counts, which is steady on a busy machine. AP on COCO
is what the authors published for their weights; it is not measured here.
"""

import argparse
import time
from collections.abc import Callable

import detector
import torch
from harness import compare
from sides import scene
from torch import Tensor, nn
from torchvision.models import detection

PEERS = {
    "fasterrcnn_resnet50_fpn_v2": detection.fasterrcnn_resnet50_fpn_v2,
    "retinanet_resnet50_fpn_v2": detection.retinanet_resnet50_fpn_v2,
}
PUBLISHED_AP = {
    "CenterNet2_R50_1x": 42.9,
    "CenterNet2_DLA-BiFPN-P5_640_16x_ST": 49.2,  # of its schedule of 24x
    "CenterNet-S4_DLA_8x": 42.5,
    "fasterrcnn_resnet50_fpn_v2": 46.7,
    "retinanet_resnet50_fpn_v2": 41.5,
}
Target = dict[str, Tensor]


def peer_work(model: nn.Module, options: argparse.Namespace) -> Callable[[], object]:
    """Return one pass of a detector of torchvision over the scene of detector.py."""
    pixels, targets = scene(*options.size, options.images)
    images = [each / 255 for each in pixels]
    model.train(options.work == "training")

    def train() -> None:
        losses = model(images, targets)
        torch.stack(list(losses.values())).sum().backward()
        model.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        model(images)

    return train if options.work == "training" else infer


def main() -> None:
    options = detector.parse()
    torch.set_num_threads(options.threads)
    # in one thread, other programs on the machine do not matter
    clock = time.process_time if options.threads == 1 else time.perf_counter
    height, width = options.size
    resized = {"min_size": min(height, width), "max_size": max(height, width)}  # not at all
    works = {options.config_file: detector.work_of(options)}
    for name, build in PEERS.items():
        model = build(weights=None, weights_backbone=None, num_classes=81, **resized)
        works[name] = peer_work(model, options)
    compare(
        f"peers, {options.work}",
        works,
        runs=options.runs,
        clock=clock,
        size=options.size,
        images=options.images,
        published_ap={name: PUBLISHED_AP.get(name) for name in works},
    )


if __name__ == "__main__":
    main()
