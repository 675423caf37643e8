"""Judge the labels of a data set, each fold by a detector that has not seen it."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from centernet2.builders.data.label_check import suspect_labels
from centernet2.builders.detector.loading import load_for_inference
from centernet2.builders.training.train_command import COMMAND_FILE
from centernet2.checkpoint.checkpoint import FINAL_FILE
from centernet2.data import DetectionDataset, coco_content, concatenate
from centernet2.data.check import LabelError
from centernet2.data.user_ids import pack_ids
from centernet2.files import write_atomic
from centernet2.spelling import counted
from centernet2.structures import IntArray

SEED = 0  # of the choice of the folds
DIGEST_LENGTH = 8  # of the hash in the names of folders
Train = Callable[[Path, Path, bool], object]  # data, output folder, whether to resume


def suspect_labels_in_folds(
    splits: Mapping[str, DetectionDataset],
    count: int,
    folder: Path,
    train: Train,
    *,
    device: str | None,
) -> list[LabelError]:
    """Let a detector judge each fold, which is trained on the images of the others.

    Args:
        splits: data sets with the same classes.
        count: number of folds.
        folder: for the data and the training runs of the folds. Finished runs on the same data are
            not repeated, others resumed.
        train: trains a detector.

    Raises:
        ValueError: there are fewer images with labels than folds.
    """
    whole = concatenate([*splits.values()])
    # splits may number their images alike
    whole = replace(whole, image_ids=pack_ids(range(1, len(whole) + 1)))
    fold_of = _folds_of(whole, count)  # [I]
    ends = np.cumsum([len(each) for each in splits.values()])[:-1]
    parts = dict(zip(splits, np.split(fold_of, ends), strict=True))  # [I] of each split
    errors: list[LabelError] = []
    for fold in range(count):
        run = _train_fold(whole, fold_of == fold, folder, str(fold), train)
        model = load_for_inference(run, device=device)
        for name, dataset in splits.items():
            others = np.flatnonzero(parts[name] != fold).tolist()
            errors += suspect_labels(model, dataset, split=name, owner=str(run), skip=others)
    return errors


def _folds_of(whole: DetectionDataset, count: int) -> IntArray:  # [I]
    """Draw the fold of each image; each fold has its share of the images with labels.

    Crowds are no labels: a detector can neither be trained on them nor be evaluated with them.
    """
    has_labels = np.bincount(whole.image_of_box[~whole.crowd], minlength=len(whole)) > 0
    if has_labels.sum() < count:
        raise ValueError(
            f"--folds is {count}, and {whole.name} has {counted(int(has_labels.sum()), 'image')} "
            "with labels, crowds aside; give a smaller number, or a detector with --with-model"
        )
    order = np.random.default_rng(SEED).permutation(len(whole))
    order = order[np.argsort(~has_labels[order], kind="stable")]
    folds = np.empty(len(whole), dtype=np.int64)
    folds[order] = np.arange(len(whole)) % count
    return folds


def _train_fold(
    whole: DetectionDataset, held_out: NDArray[np.bool_], folder: Path, name: str, train: Train
) -> Path:
    """Train the detector of a fold, unless its run is finished; return the run.

    Args:
        held_out: [I] images of the fold, which are its validation split.
        name: of the fold; with a hash of its data it names the folders.
    """
    parts = {"train": whole.subset(np.flatnonzero(~held_out))}
    parts["val"] = whole.subset(np.flatnonzero(held_out))
    texts = {split: _coco_text(part) for split, part in parts.items()}
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:DIGEST_LENGTH]
    data, run = folder / f"data_{name}_{digest}", folder / f"run_{name}_{digest}"
    for split, text in texts.items():
        write_atomic(data / "annotations" / f"instances_{split}.json", text)
    if not (run / FINAL_FILE).is_file():
        train(data, run, (run / COMMAND_FILE).is_file())
    return run


def _coco_text(part: DetectionDataset) -> str:
    """Return images, by absolute paths, and labels as a file of COCO's format."""
    names = [os.path.abspath(part.image_path(i)) for i in range(len(part))]
    return json.dumps(coco_content(part, names))
