"""A detector of PyTorch that takes and returns arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from numpy.typing import NDArray
from torch import Tensor

from centernet2.images.resize import make_test_resize
from centernet2.images.stored_image import to_tensor
from centernet2.models.detector import Detector, Trace
from centernet2.models.explain import Explanation, TracedImage, explain, traced_image
from centernet2.models.inspect import inspect
from centernet2.models.modes import evaluation_mode
from centernet2.models.postprocess import to_original
from centernet2.models.preprocess import size_of
from centernet2.ops.boxes import scale_boxes
from centernet2.predict.prediction import MISSING
from centernet2.structures import DetectionArrays, Detections, ImageDetector, Pixels

Resize: TypeAlias = Callable[[Tensor], Tensor]


class Recording(NamedTuple):
    """What a detector computed for one image, to explain it later."""

    traced: TracedImage
    scale: tuple[float, float]  # in x and y from the model's input to the image
    level_names: Sequence[str]  # of the feature pyramid, finest first

    def explain(self, x: float, y: float) -> Explanation:
        """Explain what became of a point, in pixels of the image."""
        return explain(self.traced, x, y, scale=self.scale)


class PyTorchDetector:
    """A detector of PyTorch behind a predictor, as `ExportedDetector` is one.

    Args:
        model: its mode, training or evaluation, stays as it is.
        resize: resizes an image [3, H, W] to the input size of the model; None: the test size.
    """

    missing = MISSING

    def __init__(self, model: ImageDetector, resize: Resize | None = None) -> None:
        self.model = model
        self.resize = resize or make_test_resize(model.info.test_size)

    def detect(self, images: Sequence[Pixels], *, embed: bool = False) -> list[DetectionArrays]:
        """Return detections in pixels of the images, masks in the grid of their box.

        Those of a two-stage detector have the scores of both stages, and "proposals" [R, 4].

        Args:
            embed: give each detection its RoI features.
        """
        with evaluation_mode(self.model), torch.inference_mode():
            inputs = [self.resize(to_tensor(image)) for image in images]
            rows = zip(self._run(inputs, embed=embed), inputs, images, strict=True)
            return [
                _in_image(own, proposals, size_of(x), image.shape[:2])
                for (own, proposals), x, image in rows
            ]

    def _run(
        self, inputs: Sequence[Tensor], *, embed: bool = False, trace: Trace | None = None
    ) -> list[tuple[Detections, Tensor | None]]:
        """Return the detections of each input, and its proposals if there are two stages."""
        model = self.model
        if not isinstance(model, Detector) or model.roi_heads is None:
            found = model.detect(inputs) if trace is None else trace.detections
            return [(own, None) for own in found]
        inspected = inspect(model, inputs, embed=embed, trace=trace)
        return [(each.scored(), each.proposals.boxes) for each in inspected]

    def record(self, image: Pixels) -> tuple[DetectionArrays, Recording]:
        """Return the detections of an image as `detect` does, and what explains them."""
        model = self.plain("an explanation")
        with evaluation_mode(model), torch.inference_mode():
            x = self.resize(to_tensor(image))
            trace = model.run([x])
            ((own, proposals),) = self._run([x], trace=trace)
            found = _in_image(own, proposals, size_of(x), image.shape[:2])
            traced = traced_image(model, trace)
        scale = image.shape[1] / x.shape[2], image.shape[0] / x.shape[1]
        names = model.proposal_generator.in_features
        return found, Recording(traced, scale, names or [*map(str, range(len(traced.head.ltrb)))])

    def plain(self, purpose: str) -> Detector:
        """Return the detector; ValueError if it abstains or uses test-time augmentation."""
        if not isinstance(self.model, Detector):
            raise ValueError(
                f"{purpose} is of a detector alone; load the predictor with TEST.AUG.ENABLED False "
                "and without abstention"
            )
        return self.model


def _in_image(
    own: Detections, proposals: Tensor | None, input_size: tuple[int, int], size: tuple[int, int]
) -> DetectionArrays:
    """Bring detections and proposals from the model's input to the image."""
    moved, _ = to_original(own, input_size, size)
    found = {name: _to_array(cast(Tensor, column)) for name, column in moved.items()}
    if proposals is not None:
        found["proposals"] = _to_array(scale_boxes(proposals, input_size, size))
    return found


def _to_array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return array
