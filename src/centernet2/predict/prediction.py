"""The result of a detector for one image: the same for films and exported files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray

from centernet2.ops.mask_arrays import PastedMasks, paste_grids
from centernet2.score_thresholds import Resolved, above_threshold
from centernet2.structures import Pixels

if TYPE_CHECKING:
    import pandas
    import supervision
    from PIL import Image
    from torch import Tensor

    from centernet2.predict.explaining import PointExplanation
    from centernet2.structures import Detections

Columns: TypeAlias = dict[str, NDArray[Any]]
Explainer: TypeAlias = "Callable[[Pixels, float, float], PointExplanation]"
TENSORS = ("boxes", "scores", "labels", "masks")  # as torchvision's detectors return them
PER_IMAGE = ("proposals",)  # the other columns have one row for each detection
# why a detector does not give a column; makers of exported files state their own reason
MISSING: Mapping[str, str] = {
    "masks": "the detector predicts no masks; train it with MODEL.MASK_ON True",
    "proposals": "the proposals of test-time augmentation and of tiles are not kept",
    "objectness": "a two-stage detector has it, without tiles and test-time augmentation",
    "embeddings": "`Predictor.embed` computes them",
    "class_probability": "a two-stage detector has it, without tiles and test-time augmentation",
    "ids": "the objects are not tracked; use --track, or `track` in Python",
}


class NotCarriedError(AttributeError):
    """A prediction does not carry a column; the message says how it would."""


class Detection(NamedTuple):
    """One object of an image."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image
    score: float  # in 0..1
    label: int  # in 0..C-1
    name: str  # of the class; the label as text if the classes have no names


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Detections of one image, sorted by score, as arrays of NumPy.

    `len(prediction)` is the number of detections, and iteration yields a `Detection` for each.
    `prediction[3]` is one of them. A slice, an array of indices or bool [D], a class name or a list
    of class names selects some: `prediction[prediction.scores > 0.5]["cat"]`.

    As in torchvision's dictionaries, "boxes", "scores", "labels" and "masks" are tensors:
    `prediction["boxes"]` shares its memory with `prediction.boxes`. A class of such a name is
    selected by a list: `prediction[["masks"]]`.

    Args:
        boxes: float32 [D, 4], left, top, right, bottom in pixels of the image.
        scores: float32 [D] in 0..1.
        labels: int64 [D] in 0..C-1.
        size: height and width of the image.
        class_names: by label; empty: unknown.
        path: file or address of the image; None: it was given as pixels or bytes.
        frame: number of the image in its film, from 0; None: not of a film.
        time: of the frame, in seconds from the start of the film.
        pixels: the image, uint8 [H, W, 3] RGB; None: it is read from `path` again when needed.
        columns: what not every detector gives; the properties of these names return it.
            "box_masks" [D, M, M] are masks in the grid of their box.
        missing: why a column is missing, by its name.
        explainer: explains a point of an image, as `Predictor.explain`; it is not pickled.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    size: tuple[int, int]
    class_names: tuple[str, ...] = ()
    path: Path | None = None
    frame: int | None = None
    time: float | None = None
    pixels: Pixels | None = None
    columns: Columns = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=lambda: MISSING)
    explainer: Explainer | None = None

    @property
    def names(self) -> list[str]:
        """Class name of each detection; its label as text if the classes have no names."""
        return [self._name(label) for label in self.labels.tolist()]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Mask of each detection, bool [D, H, W], pasted at the first access."""
        if "masks" not in self.columns and "box_masks" in self.columns:
            grids = self.columns["box_masks"]
            self.columns["masks"] = paste_grids(grids, self.boxes, self.size)
        return self._column("masks")

    @property
    def has_masks(self) -> bool:
        """Whether the detections have masks."""
        return "masks" in self.columns or "box_masks" in self.columns

    def each_mask(self) -> Sequence[NDArray[np.bool_]]:
        """Return the mask [H, W] of each detection; one at a time is in memory."""
        if "box_masks" in self.columns and "masks" not in self.columns:
            return PastedMasks(self.columns["box_masks"], self.boxes, self.size)
        return self._column("masks")  # type: ignore[return-value]

    @property
    def proposals(self) -> NDArray[np.float32]:
        """Boxes [R, 4] of the first stage, best first, in pixels of the image."""
        return self._column("proposals")

    @property
    def objectness(self) -> NDArray[np.float32]:
        """Score [D] of each detection's proposal: the probability of an object there."""
        return self._column("objectness")

    @property
    def class_probability(self) -> NDArray[np.float32]:
        """Probability [D] of the class of each detection, given that there is an object."""
        return self._column("class_probability")

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """RoI features [D, channels] of each detection; see `Predictor.embed`."""
        return self._column("embeddings")

    @property
    def ids(self) -> NDArray[np.int64]:
        """Number [D] of the tracked object of each detection; -1: not confirmed."""
        return self._column("ids")

    def _column(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            reason = self.missing.get(name, MISSING[name])
            raise NotCarriedError(f"the prediction carries no {name}: {reason}")
        return self.columns[name]

    @property
    def image(self) -> Pixels:
        """The image, uint8 [H, W, 3] RGB, upright."""
        if self.pixels is not None:
            return self.pixels
        if self.path is None or self.frame is not None:
            raise ValueError("the prediction does not keep its image; give it as `pixels`")
        from centernet2.images.image_files import TILED_PIXELS, read_image

        return read_image(self.path, max_pixels=TILED_PIXELS)  # it was read before, as it may be

    def reaches(self, threshold: Resolved) -> NDArray[np.bool_]:
        """Whether each detection [D] reaches the threshold of its class."""
        scores: NDArray[Any] = self.scores
        return above_threshold(scores, self.labels, threshold)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True)
        for box, score, label in rows:
            yield Detection(tuple(box), score, label, self._name(label))

    @overload
    def __getitem__(self, key: int) -> Detection: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(
        self, key: slice | Sequence[int] | Sequence[bool] | Sequence[str] | NDArray[Any]
    ) -> Prediction: ...

    def __getitem__(self, key: Any) -> Detection | Prediction | Tensor:
        if isinstance(key, int | np.integer):
            return next(iter(self._select([int(key)])))
        if isinstance(key, str) and key in TENSORS:
            return self._tensor(key)
        if isinstance(key, str):
            return self._select(np.isin(self.labels, self._labels_of([key])))
        if isinstance(key, Sequence) and key and all(isinstance(each, str) for each in key):
            return self._select(np.isin(self.labels, self._labels_of(key)))
        return self._select(key if isinstance(key, slice) else np.asarray(key, _index_type(key)))

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in TENSORS:
            raise KeyError(f"['{key}'] cannot be set; {', '.join(TENSORS)} can")
        self._tensor(key)[...] = value

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """Names of the tensors: `dict(prediction)` is a dictionary as torchvision returns."""
        return [name for name in TENSORS if name != "masks" or self.has_masks]

    def _tensor(self, name: str) -> Tensor:
        import torch

        return torch.from_numpy(getattr(self, name))

    def _select(self, rows: Any) -> Prediction:
        """Select detections by a slice, indices or [D] bool."""
        columns = {
            name: column if name in PER_IMAGE else column[rows]
            for name, column in self.columns.items()
        }
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            columns=columns,
        )

    def _labels_of(self, names: Sequence[str]) -> list[int]:
        from centernet2.spelling import did_you_mean

        for name in names:
            if name not in self.class_names and name in dir(self):
                raise KeyError(f"['{name}'] selects a class of this name; write .{name}")
            if name not in self.class_names:
                hint = did_you_mean(name, self.class_names)
                raise KeyError(f"the detector has no class '{name}'{hint}")
        return [label for label, name in enumerate(self.class_names) if name in names]

    def _name(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO annotations with scores, without ids.

        The category of a label is label + 1.

        Args:
            image_id: of the image in the file that the annotations are for.
        """
        from centernet2.predict.conversions import coco_annotations

        return coco_annotations(self, image_id)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each detection."""
        from centernet2.predict.conversions import row_names, rows

        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas; pip install pandas") from error
        names = row_names(self.columns, film=self.frame is not None)
        return pandas.DataFrame(rows(self), columns=names)

    def to_supervision(self) -> supervision.Detections:
        """Return the detections as those of the package supervision."""
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision needs supervision; pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks if self.has_masks else None,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.columns.get("ids"),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def to_detections(self) -> Detections:
        """Return boxes, scores, labels, masks and ids, for drawing and evaluation."""
        import torch

        own = self._drawn() | ({"masks": self.masks} if self.has_masks else {})
        return cast("Detections", {name: torch.from_numpy(each) for name, each in own.items()})

    def _drawn(self) -> dict[str, Any]:
        """Return boxes, scores and labels, and masks and ids if there are any."""
        own = {"boxes": self.boxes, "scores": self.scores, "labels": self.labels}
        masks = {"masks": self.each_mask()} if self.has_masks else {}
        return own | masks | ({"ids": self.ids} if "ids" in self.columns else {})

    def without_pixels(self) -> Prediction:
        """Return the prediction without its image's pixels, if they can be read again."""
        is_file = self.path is not None and self.frame is None
        return replace(self, pixels=None) if is_file else self

    def explain(self, x: float, y: float) -> PointExplanation:
        """Explain why there is a detection at a point, or why there is none.

        The detector looks at the image again, unless the prediction was made with `record=True`.
        x and y are in pixels of the image.
        """
        if self.explainer is None:
            raise NotCarriedError(
                "only predictions of a `Predictor` in this process are explained; "
                "use `Predictor.explain`"
            )
        return self.explainer(self.image, x, y)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "explainer": None}  # it holds the detector

    def plot(self) -> Image.Image:
        """Return the image, enlarged if small, with boxes, masks, class names and scores."""
        from PIL import Image

        from centernet2.visualize import draw

        return Image.fromarray(draw(self.image, self._drawn(), self.class_names or None))

    def save(self, path: Path | str) -> None:
        """Write a picture (.jpg, .png, .webp), the records (.json) or a table (.csv)."""
        from centernet2.predict.conversions import save

        save(self, Path(os.path.expanduser(path)))

    def __repr__(self) -> str:
        from centernet2.spelling import counted

        height, width = self.size
        where = "pixels" if self.path is None else str(self.path)
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"Prediction({counted(len(self), 'object')}, {where}{frame}, {width} x {height})"

    def _repr_png_(self) -> bytes | None:
        """Show the drawn image in a notebook."""
        if self.pixels is None and self.path is None:
            return None
        stream = io.BytesIO()
        self.plot().save(stream, "PNG")
        return stream.getvalue()

    def _repr_html_(self) -> str:
        """Show the drawn image and a table of the first detections in a notebook."""
        from centernet2.predict.conversions import html

        return html(self, self._repr_png_())


def _index_type(key: Any) -> type | None:
    """Return the type of an empty list of indices, which NumPy would take for floats."""
    return int if isinstance(key, Sequence) and not key else None
