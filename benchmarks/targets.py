"""Time and memory of the first stage's targets, against a dense computation.

python benchmarks/targets.py [--config-file NAME] [--size 640 640] [--objects 50] [--threads 2]
    [--runs 5]

The dense computation holds tensors over all locations and objects. Both compute the heat map and
the box distances of one image, and an error is raised if they differ. Memory is the peak of all
tensors above those that existed before.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from harness import compare
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import centernet2
from centernet2.builders.detector.network import build_detector
from centernet2.models.centernet import CenterNet
from centernet2.models.centernet.targets import INFINITE_DISTANCE, NOT_REGRESSED
from centernet2.ops.heatmap import MIN_HEAT
from centernet2.structures import Target


def scene(height: int, width: int, count: int, classes: int) -> Target:
    random = torch.Generator().manual_seed(0)
    extent = torch.exp(torch.rand(count, 2, generator=random) * 4) * 8  # 8 to 437 pixels
    low = torch.rand(count, 2, generator=random) * torch.tensor([width, height])
    high = (low + extent).minimum(torch.tensor([width, height]))
    return Target(
        boxes=torch.cat([low, high], dim=1),
        labels=torch.randint(classes, (count,), generator=random),
    )


def dense(stage: CenterNet, shapes: list[tuple[int, int]], target: Target) -> tuple[Tensor, Tensor]:
    """Compute heat map [M, C] and ltrb [M, 4] over all M locations and G objects."""
    parts = zip(shapes, stage.assigner.strides, stage.assigner.sizes_of_interest, strict=True)
    places = [
        locations(height, width, stride, low, high)
        for (height, width), stride, (low, high) in parts
    ]
    points, stride, low, high = (
        torch.cat(part) for part in zip(*places, strict=True)
    )  # [M, 2], [M, 1] three times
    boxes, labels = target["boxes"], target["labels"]
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    ltrb = torch.cat(
        [points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]], dim=2
    )  # [M, G, 4]
    cell = (center / stride[:, :, None]).long() * stride[:, :, None] + stride[
        :, :, None
    ] // 2  # [M, G, 2]
    apart = (points[:, None] - cell).abs()
    near = (apart <= stride[:, :, None]).all(dim=2)
    half_diagonal = size.norm(dim=1) / 2
    fits = (half_diagonal >= low) & (half_diagonal <= high)  # [M, G]
    distance = ((points[:, None] - center) ** 2).sum(dim=2)
    distance[(apart == 0).all(dim=2)] = 0
    delta = (1 - stage.assigner.options.min_iou) / (1 + stage.assigner.options.min_iou)
    distance = distance / (2 * delta**2 * size.prod(dim=1)).clamp(
        min=stage.assigner.options.min_radius**2
    )
    chosen = torch.where(near & fits & (ltrb.amin(dim=2) > 0), distance, INFINITE_DISTANCE).min(
        dim=1
    )
    regression = ltrb[torch.arange(len(points)), chosen.indices] / stride
    regression[chosen.values == INFINITE_DISTANCE] = NOT_REGRESSED
    owned = (
        [labels == c for c in range(stage.head.num_classes)]
        if stage.head.predicts_classes
        else [labels >= 0]
    )
    nearest = [
        distance[:, own].amin(dim=1) if own.any() else distance.new_full((len(points),), 99.0)
        for own in owned
    ]
    heat = torch.exp(-torch.stack(nearest, dim=1))
    return torch.where(heat < MIN_HEAT, 0.0, heat), regression


def locations(height: int, width: int, stride: int, low: float, high: float) -> tuple[Tensor, ...]:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([x, y], dim=2).reshape(-1, 2) * stride + stride // 2
    return points, *(torch.full((len(points), 1), value) for value in (stride, low, high))


def peak_megabytes(work: Callable[[], object]) -> float:
    """Measure the peak of all tensors above those that existed before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    steps = sorted(
        (e["ts"], e["args"]["Total Allocated"], e["args"]["Bytes"])
        for e in events
        if e["name"] == "[memory]"
    )
    before = steps[0][1] - steps[0][2]
    return round((max(total for _, total, _ in steps) - before) / 2**20, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="CenterNet-S4_DLA_8x")
    parser.add_argument("--size", nargs=2, type=int, default=[640, 640], help="height and width")
    parser.add_argument("--objects", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = options.size
    with torch.device("meta"):
        stage = build_detector(
            centernet2.load_config(options.config_file)
        ).proposal_generator.train()
    target = scene(height, width, options.objects, stage.head.num_classes)
    shapes = [(-(-height // stride), -(-width // stride)) for stride in stage.assigner.strides]
    maps = [torch.zeros(1, 4, *shape) for shape in shapes]
    works = {
        "ours": partial(stage.assigner, maps, [(height, width)], [target]),
        "dense": partial(dense, stage, shapes, target),
    }
    ours, (heat, regression) = works["ours"](), works["dense"]()
    torch.testing.assert_close(ours.heatmap, heat, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.ltrb, regression, rtol=1e-5, atol=1e-5)
    megabytes = {name: peak_megabytes(work) for name, work in works.items()}
    compare(
        "targets",
        works,
        runs=options.runs,
        config=options.config_file,
        size=options.size,
        objects=options.objects,
        megabytes=megabytes,
        memory_ratio=round(megabytes["ours"] / megabytes["dense"], 4),
    )


if __name__ == "__main__":
    main()
