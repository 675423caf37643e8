"""What a model costs: its parameters, and the operations on one image.

`python -m centernet2.profiling.costs > src/centernet2/zoo/costs.json` writes the table of the published models.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from centernet2.builders.network import build_detector
from centernet2.config import Config, load_config
from centernet2.data.resize import make_test_resize
from centernet2.models.detector import Detector
from centernet2.models.roi_heads import RoIPooler
from centernet2.zoo.published import ModelCost, zoo_models

IMAGE = (480, 640)  # height and width of the commonest COCO image


def measure(config: Config) -> ModelCost:
    """The cost of detecting in an image of 480 x 640 pixels, with as many regions as there may be.

    Counted are convolutions, deformable ones included, and matrix products, a multiply-add as two operations.
    """
    detector = plan_detector(config)
    height, width = input_size(detector)
    heads = detector.roi_heads
    operations = count_operations(
        detector,
        (1, height, width),
        regions=detector.proposal_generator.decoder.options.inference.post_nms_topk,
        objects=0 if heads is None else heads.selection.options.detections_per_image,
    )
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    return ModelCost(parameters, round(sum(operations.values()) / 1e9, 1), height, width)


def plan_detector(config: Config) -> Detector:
    """The detector without memory for its weights, whose operations can be counted but not done."""
    with torch.device("meta"):
        return build_detector(config).eval()


def input_size(detector: Detector) -> tuple[int, int]:
    """Height and width that an image of 480 x 640 pixels has for the network: resized for testing and padded."""
    image = torch.zeros(3, *IMAGE, dtype=torch.uint8)
    height, width = make_test_resize(detector.info.test_size)(image).shape[1:]
    return padded(height, detector), padded(width, detector)


def padded(side: int, detector: Detector) -> int:
    """Pixels of an image's side once the detector has padded it."""
    multiple = detector.preprocess.size_divisibility
    return -(-side // multiple) * multiple


@torch.inference_mode()
def count_operations(
    detector: Detector, shape: tuple[int, int, int], *, regions: int, objects: int
) -> dict[str, int]:
    """Operations of each network of the detector, by the stage that it belongs to.

    Args:
        detector: of `plan_detector`.
        shape: images, their height and width, padded.
        regions, objects: that box heads and mask head look at, in all images together. What selects them is not
            counted: it has no matrix products.
    """
    operations: dict[str, int] = {}
    with _counted(operations, "backbone"):
        maps = detector.backbone(torch.empty(shape[0], 3, *shape[1:], device="meta"))
    with _counted(operations, "neck"):
        pyramid = detector.neck(maps)
    first, second = detector.proposal_generator, detector.roi_heads
    with _counted(operations, "first_stage_head"):
        first.head(first.levels(pyramid))
    if second is None:
        return operations
    channels = pyramid[second.in_features[0]].shape[1]
    with _counted(operations, "roi_heads_boxes"):
        for stage in second.stages:
            boxes = torch.empty(regions, 4, device="meta")
            stage(_pooled(second.pooler, regions, channels), boxes)
    if second.mask_branch is not None:
        with _counted(operations, "roi_heads_masks"):
            second.mask_branch.head(_pooled(second.mask_branch.pooler, objects, channels))
    return operations


def _pooled(pooler: RoIPooler, regions: int, channels: int) -> torch.Tensor:
    return torch.empty(regions, channels, pooler.resolution, pooler.resolution, device="meta")


@contextmanager
def _counted(operations: dict[str, int], stage: str) -> Iterator[None]:
    mapping = {torch.ops.torchvision.deform_conv2d: _deformable_operations}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        yield
    operations[stage] = counter.get_total_flops()


def _deformable_operations(
    image: Any, weight: Any, *rest: Any, out_shape: Any, **options: Any
) -> int:
    """Two operations for each weight at each place; the interpolation is left out."""
    samples, channels, height, width = out_shape
    return int(2 * samples * height * width * channels * weight[1] * weight[2] * weight[3])


def main() -> None:
    """Writes the costs of all published models as JSON."""
    names = sorted({model.config for model in zoo_models()})
    costs = {name: measure(load_config(name))._asdict() for name in names}
    rows = (f"{json.dumps(name)}: {json.dumps(cost)}" for name, cost in costs.items())
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
