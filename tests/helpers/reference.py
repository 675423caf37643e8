"""The reference's numbers (tests/golden), with their models and scenes.

A model under test gets the weights that the reference had, each tensor a function of its name and
shape (tests/helpers/fill.py), through a weights file in the reference's format.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

import centernet2
from centernet2.checkpoint import load_weights, read_weights
from centernet2.checkpoint.names import to_reference
from centernet2.models.centernet import HeadOutput
from centernet2.models.detector import Detector
from centernet2.models.postprocess import paste
from centernet2.structures import Detections, Proposals, Target
from tests.helpers.fill import fill, picture

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.name.removesuffix(".eval.npz") for path in GOLDEN.glob("*.eval.npz"))
NO_SAMPLING = (
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8192", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0",
    "MODEL.DLA.NORM", "BN", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", "1",
)  # fmt: skip
Array = npt.NDArray[Any]


class Scenes(NamedTuple):
    """Two images, their ground truth, and the folder of the reference's numbers."""

    folder: Path
    images: list[Tensor]  # [3, H, W] uint8 RGB
    boxes: list[Tensor]  # [G, 4]
    classes: list[Tensor]  # [G] in 0..79

    def targets(self, model: Detector) -> list[Target]:
        """Return ground truth with the model's labels; masks are inscribed ellipses."""
        return [
            {
                "boxes": boxes,
                "labels": labels % model.num_classes,
                "masks": ellipses(boxes, image.shape[1], image.shape[2]),
            }
            for image, boxes, labels in zip(self.images, self.boxes, self.classes, strict=True)
        ]

    def read(self, name: str) -> dict[str, Array]:
        """Read the arrays of a file of the folder."""
        with np.load(self.folder / name) as file:
            return dict(file)


def portable_scenes() -> Scenes:
    """Return the drawn pictures; their numbers lie in this repository."""
    pictures = [picture(1, 192, 256), picture(2, 160, 224)]
    images = [torch.from_numpy(image).permute(2, 0, 1) for image, _, _ in pictures]
    boxes, classes = zip(
        *((torch.from_numpy(b), torch.from_numpy(c)) for _, b, c in pictures), strict=True
    )
    return Scenes(GOLDEN, images, list(boxes), list(classes))


def shared_scenes(folder: Path) -> Scenes:
    """Return the photographs; their numbers may lie beside the checkout."""
    pixels = [torch.from_numpy(np.array(Image.open(folder / f"image{i}.png"))) for i in range(2)]
    with np.load(folder / "ground_truth.npz") as truth:
        boxes, classes = (
            [torch.from_numpy(truth[f"{key}{i}"]) for i in range(2)] for key in ("boxes", "classes")
        )
    return Scenes(
        folder, [image.permute(2, 0, 1) for image in pixels], boxes, [c.long() for c in classes]
    )


def ellipses(boxes: Tensor, height: int, width: int) -> Tensor:
    """Draw masks [G, H, W] of the ellipses inscribed in boxes [G, 4]."""
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    x1, y1, x2, y2 = boxes.double()[:, :, None, None].unbind(1)
    return ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 <= 1


def reference_model(name: str, folder: Path, options: tuple[str, ...] = ()) -> Detector:
    """Build a config's detector with the reference's weights, without sampling.

    Args:
        folder: receives the weights, and the image counts that the federated loss reads.
    """
    counts = folder / "images_per_class.json"
    counts.write_text(
        json.dumps([{"id": i, "image_count": 1 + i * 7919 % 1977} for i in range(1, 1204)])
    )
    config = centernet2.load_config(
        name, [*NO_SAMPLING, "MODEL.ROI_BOX_HEAD.CAT_FREQ_PATH", str(counts), *options]
    )
    model = centernet2.build_model(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in to_reference(model.state_dict()).items()}
    if model.roi_heads is None:  # the reference saves pixel statistics with one-stage weights
        shapes |= {"pixel_mean": (3, 1, 1), "pixel_std": (3, 1, 1)}
    computed = ("freq_weight", "fed_loss_cls_weights")  # from the file above
    state = {
        key: torch.from_numpy(np.asarray(fill(key, shape)))
        for key, shape in shapes.items()
        if not key.endswith(computed)
    }
    path = folder / f"{name}.pth"
    torch.save({"model": state}, path)
    load_weights(model, read_weights(path))
    path.unlink()
    return model


class Evaluation(NamedTuple):
    """What a model computes for a batch of images."""

    input_shape: tuple[int, ...]
    features: dict[str, Tensor]
    head: HeadOutput
    proposals: list[Proposals]
    detections: list[Detections]


class Training(NamedTuple):
    """What a training step computes; parameters have the reference's names."""

    losses: dict[str, float]
    gradient_norms: dict[str, float]


def evaluate(model: Detector, images: list[Tensor]) -> Evaluation:
    """Run a detector and return its intermediate results."""
    model.eval()
    with torch.no_grad():
        shape = tuple(model.preprocess(images).tensor.shape)
        trace = model.run(images)
    assert trace.head is not None
    detections = [
        paste(own, (image.shape[1], image.shape[2]))
        for own, image in zip(trace.detections, images, strict=True)
    ]
    return Evaluation(shape, dict(trace.features), trace.head, trace.proposals, detections)


def train(model: Detector, images: list[Tensor], targets: list[Target]) -> Training:
    """Run a forward and a backward pass, then reset gradients and statistics."""
    with statistics_kept(model):
        losses = model.train()(images, targets)
        sum(losses.values()).backward()
    none = torch.zeros(0)  # rename all keys together: some names depend on which keys there are
    gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    renamed = to_reference({key: gradients.get(key, none) for key in model.state_dict()})
    norms = {key: g.norm().item() for key, g in renamed.items() if g is not none}
    model.zero_grad()
    return Training({key: loss.item() for key, loss in losses.items()}, norms)


@contextmanager
def statistics_kept(model: Detector) -> Iterator[None]:
    """Restore the statistics of batch normalization afterwards: tests share a model."""
    statistics = {key: buffer.clone() for key, buffer in model.named_buffers()}
    yield
    for key, buffer in model.named_buffers():
        buffer.copy_(statistics[key])


def agreement(actual: dict[str, Tensor], expected: dict[str, Array]) -> float:
    """Return the share of detections that agree: 0.1 pixel, score 1e-3, same label.

    Keys are "boxes" [D, 4], "scores" [D] and, where there are classes, "labels" [D].
    """
    ours = {key: actual[key].numpy() for key in expected}
    near = np.abs(ours["boxes"][:, None] - expected["boxes"]).max(axis=2) < 0.1
    near &= np.abs(ours["scores"][:, None] - expected["scores"]) < 1e-3
    if "labels" in expected:
        near &= ours["labels"][:, None] == expected["labels"]
    return (
        float(min(near.any(axis=0).mean(), near.any(axis=1).mean()))
        if near.size
        else float(not sum(near.shape))
    )
