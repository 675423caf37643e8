"""The packed index of one split of a data set, in any layout."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from centernet2.data.annotation_masks import NO_MASK, POLYGONS, RUN_LENGTHS, PackedMasks, join_masks
from centernet2.data.class_names import class_list, clean_name, join_classes, shown
from centernet2.data.federated import FederatedLabels, join_federated
from centernet2.data.findings import Finding
from centernet2.data.sharing import SharedArrays, offsets_of
from centernet2.data.user_ids import PackedIds, join_ids, unpack_id
from centernet2.files import printable
from centernet2.ops.box_arrays import xywh_to_xyxy
from centernet2.structures import BoolArray, FloatArray, IntArray, Target, UserId

logger = logging.getLogger(__name__)

Layout = Literal["coco", "yolo", "voc"]  # how the annotation files are written
BoxRows = slice | npt.NDArray[np.integer[Any]]
IMAGE_COLUMNS = ("files", "image_ids", "heights", "widths")
BOX_COLUMNS = ("xywh", "labels", "areas", "crowd")


@dataclass(frozen=True)
class DatasetsOptions:
    """Data sets."""

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    class_map: tuple[str, ...] = ()
    val_fraction: float = 0.0
    val_seed: int = 0
    partial_labels: bool = False
    kept_classes: tuple[str, ...] = ()
    kept_scores: tuple[float, ...] = (0.2, 0.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionDataset(SharedArrays):
    """Images and boxes of one split as packed arrays.

    There is no Python object per box, so worker processes share the memory.
    """

    name: str
    class_names: tuple[str, ...]  # by label
    category_ids: tuple[UserId, ...]  # label -> id in the files
    frequencies: tuple[str, ...] = ()  # LVIS: r, c or f by label
    folder: Path  # of the images
    annotations: Path | None  # the JSON file, for messages; None for joined data sets
    layout: Layout = "coco"  # Pascal VOC has its own metrics
    files: npt.NDArray[np.bytes_]  # [I] paths below the folder, UTF-8
    image_ids: PackedIds  # [I] of the files; inside the package an image is its position
    heights: npt.NDArray[np.int32]  # [I]
    widths: npt.NDArray[np.int32]  # [I]
    offsets: IntArray  # [I + 1] first row of the boxes of each image, and the end
    xywh: FloatArray  # [B, 4] in pixels of the image file, every digit as annotated
    labels: npt.NDArray[np.int32]  # [B]
    areas: FloatArray  # [B] of the object, may be smaller than its box
    crowd: BoolArray  # [B] groups of objects: never training targets
    # [S, C] of joined data sets, or of one: whether it labels the class. None: it labels all.
    # Training takes the other classes as unknown, and crowds as uncertain objects.
    labelled: BoolArray | None = None
    masks: PackedMasks | None = None  # of the B objects, if they were read
    federated: FederatedLabels | None = None  # LVIS: which classes were annotated in each image
    sources: IntArray | None = None  # [I] joined data sets: number of each image's set
    source_names: tuple[str, ...] = ()  # of these sets
    divided: bool = False  # a random part of data without splits
    unusable: BoolArray | None = None  # [I] known to be so; training reads others
    source_category_ids: tuple[tuple[UserId, ...], ...] = ()  # of each of them, by label
    findings: tuple[Finding, ...] = ()  # what was wrong in the files, and repaired or dropped
    renamed: tuple[tuple[str, UserId, str], ...] = ()  # class in the files: name, id, new name

    def __len__(self) -> int:
        return len(self.files)

    @property
    def origin(self) -> str:
        """What messages call it: its file, or its name if it is joined of several."""
        return str(self.annotations or self.name)

    def image_id(self, i: int) -> UserId:
        """Id of image i in its file."""
        return unpack_id(self.image_ids, i)

    def file_name(self, i: int) -> str:
        """Path of the file of image i below the folder, as text that can be printed."""
        return printable(os.fsdecode(self.files[i]))

    def image_path(self, i: int) -> Path:
        """Path of the file of image i."""
        return self.folder / os.fsdecode(self.files[i])

    def rows(self, i: int) -> slice:
        """Rows of the boxes of image i."""
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    @property
    def image_of_box(self) -> IntArray:  # [B]
        """Image that each box is in."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def boxes(self, rows: BoxRows = slice(None)) -> npt.NDArray[np.float32]:
        """Return the boxes of some rows, [N, 4] as xyxy."""
        return xywh_to_xyxy(self.xywh[rows]).astype(np.float32)

    @property
    def masked(self) -> BoolArray:  # [B]
        """Whether each object has a mask that was read."""
        if self.masks is None:
            return np.zeros(len(self.labels), dtype=bool)
        return np.asarray(self.masks.kinds != NO_MASK)

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of image i."""
        return int(self.heights[i]), int(self.widths[i])

    def source(self, i: int) -> int:
        """Number of the data set that image i is from; 0 if no sets are joined."""
        return 0 if self.sources is None else int(self.sources[i])

    def is_target(self, rows: slice) -> BoolArray:
        """Whether boxes are trained on: those that are no crowds and have no empty mask."""
        single = ~self.crowd[rows]
        return single if self.masks is None else single & self.masks.have_pixels(rows)

    def target(self, i: int) -> Target:
        """Return the training targets of image i, in pixels of its file.

        If masks were read, the target has `polygons`, which the last transform draws as masks, or
        `masks` if an object has another form.
        """
        own = self.rows(i)
        used = self.is_target(own)
        if self.labelled is not None:  # crowds are uncertain objects
            used = used | self.crowd[own]
        rows = own.start + np.flatnonzero(used)
        target: Target = {
            "boxes": torch.from_numpy(self.boxes(rows)),
            "labels": torch.from_numpy(self.labels[rows].astype(np.int64)),
        }
        if self.labelled is not None:
            target["unknown"] = torch.from_numpy(~self.labelled[self.source(i)])
            target["uncertain"] = torch.from_numpy(self.crowd[rows])
        if self.masks is None:
            return target
        if (self.masks.kinds[rows] == POLYGONS).all():
            return {**target, "polygons": [self.masks.polygons(row) for row in rows]}
        masks = [self.masks.bitmap(row, self.size(i)) for row in rows]
        return {**target, "masks": torch.stack(masks)}

    def segmentation(self, row: int) -> Any:
        """Return the mask of box `row` in the form of COCO's JSON; None if it has no mask."""
        if self.masks is None:
            return None
        size = (0, 0)
        if self.masks.form(row) == RUN_LENGTHS:  # which alone have a size
            size = self.size(int(np.searchsorted(self.offsets, row, side="right")) - 1)
        return self.masks.segmentation(row, size)

    def subset(self, indices: npt.NDArray[np.integer[Any]]) -> "DetectionDataset":
        """Select images by indices, in this order, with their boxes."""
        counts = np.diff(self.offsets)[indices]
        offsets = offsets_of(counts)
        rows = np.repeat(self.offsets[indices] - offsets[:-1], counts) + np.arange(offsets[-1])
        return replace(
            self,
            **{column: getattr(self, column)[indices] for column in IMAGE_COLUMNS},
            **{column: getattr(self, column)[rows] for column in BOX_COLUMNS},
            masks=None if self.masks is None else self.masks.take(rows),
            federated=None if self.federated is None else self.federated.take(indices),
            sources=None if self.sources is None else self.sources[indices],
            unusable=None if self.unusable is None else self.unusable[indices],
            offsets=offsets,
        )

    def relabeled(
        self, class_names: Sequence[str], first: Sequence[int], label: npt.NDArray[np.int32]
    ) -> "DetectionDataset":
        """Number the classes anew.

        Args:
            class_names: by new label.
            first: old label of each new one, whose ids it keeps.
            label: new label of each old one; -1: no box has it.
        """
        return replace(
            self,
            class_names=tuple(class_names),
            category_ids=tuple(self.category_ids[i] for i in first),
            frequencies=tuple(self.frequencies[i] for i in first) if self.frequencies else (),
            source_category_ids=tuple(
                tuple(ids[i] for i in first) for ids in self.source_category_ids
            ),
            labels=label[self.labels],
            labelled=None if self.labelled is None else self.labelled[:, list(first)],
            federated=None if self.federated is None else self.federated.relabeled(label),
        )


def without_empty_images(dataset: DetectionDataset) -> DetectionDataset:
    """Remove images without an object, or with crowds only, as the reference does."""
    kept = np.unique(dataset.image_of_box[dataset.is_target(slice(None))])
    require_objects(dataset)
    if len(kept) < len(dataset):
        logger.info(
            "%s: %d images without objects are left out", dataset.name, len(dataset) - len(kept)
        )
    return dataset.subset(kept)


def require_objects(dataset: DetectionDataset) -> None:
    """Raise ValueError if there is no object to train on."""
    if not dataset.is_target(slice(None)).any():
        advice = advice_without_objects(dataset)
        raise ValueError(f"{dataset.origin}: no image has an object to train on; {advice}")


def require_ground_truth(dataset: DetectionDataset) -> None:
    """Raise ValueError if there is no object but crowds to compare detections with."""
    if dataset.crowd.all():
        raise ValueError(
            f"{dataset.origin}: no image has an object, so there is no AP to compute; "
            f"{advice_without_objects(dataset)}, or give other images for validation"
        )


def advice_without_objects(dataset: DetectionDataset) -> str:
    """Say what to do where there is no object; some tools mark each mask as a crowd."""
    if not dataset.crowd.any():
        return "add annotations"
    return (
        f"{dataset.crowd.sum()} annotations are crowds (iscrowd 1, or difficult in Pascal VOC): "
        "write 0 for single objects"
    )


def require_masks(dataset: DetectionDataset) -> None:
    """Raise ValueError if no object of a data set has a mask to train on."""
    if dataset.masks is None or not dataset.masks.have_pixels().any():
        raise ValueError(
            f"{dataset.origin}: no object has a mask ('segmentation'), which MODEL.MASK_ON and "
            "INPUT.COPY_PASTE need; export the masks or leave these off"
        )


def with_classes(
    dataset: DetectionDataset, class_names: Sequence[str], *, owner: str
) -> DetectionDataset:
    """Number the classes of a data set in the order of `class_names`.

    The order in a data set is that of the ids in its file, which says nothing about another file.

    Args:
        owner: data set or checkpoint that has these classes, for the message.

    Raises:
        ValueError: the data set has other classes.
    """
    own, class_names = dataset.class_names, tuple(map(clean_name, class_names))
    if own == class_names:
        return dataset
    if sorted(own) != sorted(class_names):
        raise ValueError(
            f"{dataset.origin} has {class_list(own)} and {owner} has {class_list(class_names)}: "
            f"{_differences(own, class_names)}; use the same names in both, or join them with "
            "--class-map OLD=NEW"
        )
    logger.info("%s: its classes are matched to those of %s by their names", dataset.name, owner)
    order = [own.index(name) for name in class_names]
    return dataset.relabeled(class_names, order, np.argsort(order).astype(np.int32))


def _differences(own: Sequence[str], others: Sequence[str]) -> str:
    join = join_classes(own, others)
    found = [
        f"{shown([repr(each) for each in names])} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in ((join.missing, "missing"), (join.added, "added"))
        if names
    ]
    return ", ".join(found) or "a name occurs twice"


def concatenate(datasets: Sequence[DetectionDataset]) -> DetectionDataset:
    """Join data sets that have the same classes, in any order."""
    first, *others = datasets
    if not others:
        return first
    others = [with_classes(each, first.class_names, owner=first.origin) for each in others]
    datasets = [first, *others]
    folder = Path(os.path.commonpath([dataset.folder.absolute() for dataset in datasets]))
    files = [
        os.path.join(dataset.folder.absolute().relative_to(folder), os.fsdecode(file))
        for dataset in datasets
        for file in dataset.files
    ]
    joined: dict[str, Any] = {
        column: np.concatenate([getattr(dataset, column) for dataset in datasets])
        for column in IMAGE_COLUMNS + BOX_COLUMNS
        if column != "image_ids"
    }
    joined["image_ids"] = join_ids([dataset.image_ids for dataset in datasets])
    joined["files"] = pack_paths(files)
    masks = [dataset.masks for dataset in datasets if dataset.masks is not None]
    joined["masks"] = join_masks(masks) if len(masks) == len(datasets) else None
    same_layout = all(dataset.layout == first.layout for dataset in datasets)
    return replace(
        first,
        name="+".join(dataset.name for dataset in datasets),
        folder=folder,
        annotations=None,
        layout=first.layout if same_layout else "coco",
        federated=_join_federated(datasets),
        labelled=_join_labelled(datasets),
        findings=(),
        divided=any(dataset.divided for dataset in datasets),
        sources=np.repeat(np.arange(len(datasets)), [len(dataset) for dataset in datasets]),
        source_names=tuple(dataset.name for dataset in datasets),
        source_category_ids=tuple(dataset.category_ids for dataset in datasets),
        renamed=tuple(each for dataset in datasets for each in dataset.renamed),
        offsets=offsets_of(np.concatenate([np.diff(dataset.offsets) for dataset in datasets])),
        **joined,
    )


def _join_labelled(datasets: Sequence[DetectionDataset]) -> BoolArray | None:
    """Join which classes each of several data sets labels; None: each labels all."""
    if all(dataset.labelled is None for dataset in datasets):
        return None
    everything = np.ones((1, len(datasets[0].class_names)), dtype=bool)
    parts = [everything if d.labelled is None else d.labelled for d in datasets]
    return np.concatenate(parts)


def _join_federated(datasets: Sequence[DetectionDataset]) -> FederatedLabels | None:
    """Join the lists of annotated classes; None unless all data sets have them."""
    parts = [dataset.federated for dataset in datasets if dataset.federated is not None]
    if len(parts) == len(datasets):
        return join_federated(parts)
    if parts:
        logger.warning(
            "%s: not all of these data sets name the classes that were annotated in each image, as "
            "LVIS does; all classes are taken to be annotated in every image",
            "+".join(dataset.name for dataset in datasets),
        )
    return None


def pack_paths(files: Sequence[str]) -> npt.NDArray[np.bytes_]:  # [I]
    """Pack paths into one array of bytes."""
    return np.array([os.fsencode(file) for file in files])
