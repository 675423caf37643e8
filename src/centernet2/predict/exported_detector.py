"""An exported file in place of a detector of PyTorch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from centernet2.runtime.exported_model import Arrays, ExportedModel
from centernet2.structures import Detections, ModelInfo


class ExportedDetector:
    """A detector whose file resizes images itself.

    Args:
        path: of the file.
        providers, threads: see `ExportedModel`.
    """

    def __init__(
        self, path: Path, *, providers: Sequence[str] = (), threads: int | None = None
    ) -> None:
        self.model = ExportedModel(path, providers=providers, threads=threads)
        count = self.model.session.input_shape[0]
        self.batch_size = count if isinstance(count, int) else None  # None: any
        metadata = self.model.metadata
        self.num_classes: int = metadata["num_classes"]
        self.info = ModelInfo(
            class_names=tuple(metadata["class_names"]),
            score_thresholds=tuple(metadata["score_thresholds"]),
            config_name=metadata["config"],
        )

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return detections of images [3, h, w], masks in the grid of their box."""
        found: list[Detections] = []
        for batch in self._batches(images):
            missing = (self.batch_size or len(batch)) - len(batch)
            pixels = torch.stack([*batch, *[batch[-1]] * missing]).cpu().numpy()
            found += [_detections(own) for own in self.model.detect(pixels)[: len(batch)]]
        return found

    def modules(self) -> Iterator[nn.Module]:
        """Return no modules: there is no training mode."""
        return iter(())

    def eval(self) -> object:
        """Return itself: there is no training mode."""
        return self

    def _batches(self, images: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """Yield images that follow each other and have one size, as many as the file takes."""
        batch: list[Tensor] = []
        for image in images:
            if batch and (image.shape != batch[0].shape or len(batch) == self.batch_size):
                yield batch
                batch = []
            batch.append(image)
        if batch:
            yield batch


def _detections(arrays: Arrays) -> Detections:
    """Convert the detections of an image to tensors."""
    boxes, scores, labels = (
        torch.from_numpy(arrays[name]) for name in ("boxes", "scores", "labels")
    )
    detections: Detections = {"boxes": boxes, "scores": scores, "labels": labels}
    if "masks" in arrays:
        detections["box_masks"] = torch.from_numpy(arrays["masks"])
    return detections
