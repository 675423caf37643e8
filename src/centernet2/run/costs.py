"""What a model costs: its parameters, and the operations on one image.

`python -m centernet2.run.costs > src/centernet2/zoo/costs.json` writes the table of the published models.
"""

import json
import sys
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from centernet2.build.detector import build_detector
from centernet2.config import Config, load_config
from centernet2.models.detector import Detector
from centernet2.zoo.published import Cost, zoo_models

IMAGE = (480, 640)  # height and width of the commonest COCO image


def measure(config: Config) -> Cost:
    """The cost of detecting in an image of 480 x 640 pixels, with as many regions as there may be.

    Counted are convolutions, deformable ones included, and matrix products, a multiply-add as two operations.
    """
    with torch.device("meta"):
        detector = build_detector(config).eval()
    image = torch.zeros(3, *IMAGE, dtype=torch.uint8)
    multiple = detector.preprocess.size_divisibility
    resized = image if detector.resize is None else detector.resize(image)
    height, width = (-(-side // multiple) * multiple for side in resized.shape[1:])
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.torchvision.deform_conv2d: _deformable_operations}
    )
    with counter, torch.inference_mode():
        _compute(detector, config, torch.empty(1, 3, height, width, device="meta"))
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    return Cost(parameters, round(counter.get_total_flops() / 1e9, 1), height, width)


def _compute(detector: Detector, config: Config, images: torch.Tensor) -> None:
    """All networks of the detector, without the selection between them, which depends on values."""
    pyramid = detector.neck(detector.backbone(images))
    detector.proposal_generator.head([pyramid[level] for level in config.centernet.in_features])
    heads = detector.roi_heads
    if heads is None:
        return
    channels = pyramid[heads.in_features[0]].shape[1]
    size = heads.pooler.resolution
    regions = torch.empty(config.centernet.post_nms_topk_test, channels, size, size, device="meta")
    for stage in heads.stages:
        stage(regions)
    if heads.mask_head is not None and heads.mask_pooler is not None:
        size = heads.mask_pooler.resolution
        heads.mask_head(torch.empty(heads.detections_per_image, channels, size, size, device="meta"))


def _deformable_operations(image: Any, weight: Any, *rest: Any, out_shape: Any, **options: Any) -> int:
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
