"""The certificate of an exported file: its agreement with PyTorch, stage by stage."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from centernet2.export.graph import DetectionGraph, GraphOptions
from centernet2.images.resize import make_test_resize
from centernet2.models.detector import Detector
from centernet2.models.postprocess import to_original
from centernet2.models.preprocess import size_of
from centernet2.runtime.agreement import Agreement, Tolerance, compare_detections, join_agreements
from centernet2.runtime.session import Arrays
from centernet2.runtime.verification import Call

COMPARED = 3  # images
DRAWN_SIZES = ((333, 500), (480, 360), (427, 640))
CUT = 0.8  # share of the second image that is kept, so that its size differs from the first one's


def batches_of(images: Sequence[Tensor], options: GraphOptions) -> list[Tensor]:
    """Make a batch [N, 3, H, W] of each of three images; the last has two copies.

    Images, uint8 [3, H, W], are drawn where they are missing. The graph may fix batch and size.
    """
    first, second, third = (*images, *drawn_images()[len(images) :])[:COMPARED]
    height, width = size_of(second)
    second = second[:, : round(CUT * height), : round(CUT * width)]
    counts = [options.batch] * COMPARED if options.batch else [1, 1, 2]
    pairs = zip((first, second, third), counts, strict=True)
    return [as_batch(image, count, options.size) for image, count in pairs]


def as_batch(image: Tensor, count: int, size: tuple[int, int] | None) -> Tensor:
    """Make a batch [N, 3, H, W] of shifted copies of an image, at a size if given."""
    own = F.resize(image, list(size)) if size else image
    return torch.stack([own.roll(32 * k, dims=2) for k in range(count)])


def drawn_images() -> list[Tensor]:
    """Draw images of rectangles on a shaded background: uint8 [3, H, W]."""
    random = np.random.default_rng(0)
    return [torch.from_numpy(_draw(random, *size)) for size in DRAWN_SIZES]


def _draw(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    shade = random.uniform(0, 255, (3, 1, 1)) + random.uniform(-0.2, 0.2, (3, 1, 1)) * (x + y)
    image = np.clip(shade + random.normal(0, 5, (3, height, width)), 0, 255)
    for _ in range(12):
        (top, left), (h, w) = (random.integers(10, (height // 2, width // 2)) for _ in range(2))
        image[:, top : top + h, left : left + w] = random.uniform(0, 255, (3, 1, 1))
    pixels: NDArray[np.uint8] = image.astype(np.uint8)
    return pixels


@torch.inference_mode()
def call_detector(detector: Detector, images: Tensor) -> Call:
    """Run a detector on images [N, 3, H, W] at its test size."""
    resize = make_test_resize(detector.info.test_size)
    inputs = [resize(image) for image in images]
    detections = []
    for own, input in zip(detector.detect(inputs), inputs, strict=True):
        kept, _ = to_original(own, size_of(input), size_of(images[0]))
        detections.append({name: kept[name].numpy() for name in ("boxes", "scores", "labels")})
    return Call(images.numpy(), detections)


@torch.inference_mode()
def compare_stages(
    graph: DetectionGraph,
    outputs: Sequence[Mapping[str, NDArray[Any]]],
    batches: Sequence[Tensor],
    tolerance: Tolerance,
) -> dict[str, Agreement]:
    """Compare the proposals and the results of the cascade's stages for batches.

    PyTorch runs the graph, which records them; `outputs` are those of the exported file.
    """
    agreements: dict[str, list[Agreement]] = {}
    for actual, images in zip(outputs, batches, strict=True):
        expected = {name: column.numpy() for name, column in graph(images).items()}
        count = sum(name.endswith("_probabilities") for name in expected)
        for number in (None, *range(count)):
            name = "proposals" if number is None else f"stage {number}"
            pairs = zip(_stage(actual, number), _stage(expected, number), strict=True)
            agreements.setdefault(name, []).extend(
                compare_detections(*pair, tolerance) for pair in pairs
            )
    return {name: join_agreements(each) for name, each in agreements.items()}


def _stage(outputs: Mapping[str, NDArray[Any]], number: int | None) -> Iterator[Arrays]:
    """Yield boxes and best classes of each image after a stage; None: proposals."""
    for i, count in enumerate(outputs["proposal_count"]):
        if number is None:
            boxes, scores = (outputs[f"proposal_{key}"][i, :count] for key in ("boxes", "scores"))
            yield {"boxes": boxes, "scores": scores, "labels": np.zeros(count, np.int64)}
            continue
        boxes, probabilities = (
            outputs[f"stage{number}_{key}"][i, :count] for key in ("boxes", "probabilities")
        )  # [R, K, 4], [R, C + 1]
        probabilities = probabilities[:, :-1]  # without background
        labels = probabilities.argmax(axis=1)
        rows = np.arange(count)
        own = labels if boxes.shape[1] > 1 else 0
        yield {"boxes": boxes[rows, own], "scores": probabilities[rows, labels], "labels": labels}
