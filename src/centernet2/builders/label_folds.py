"""Judge the labels of a data set by detectors that have not seen them: one for each fold."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from centernet2.builders.label_check import suspect_labels
from centernet2.builders.loading import load_for_inference
from centernet2.builders.train_command import COMMAND_FILE
from centernet2.checkpoint.checkpoint import FINAL_FILE
from centernet2.data import DetectionDataset, coco_content, concatenate
from centernet2.data.check import LabelError
from centernet2.data.user_ids import pack_ids
from centernet2.files import write_atomic

SEED = 0  # of the choice of the folds
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
        folder: for the data and the training runs of the folds. Runs that are there are not
            repeated unless the data have changed.
        train: trains a detector.
    """
    whole = concatenate([*splits.values()])
    # splits may number their images alike
    whole = replace(whole, image_ids=pack_ids(range(1, len(whole) + 1)))
    fold_of = np.random.default_rng(SEED).permutation(len(whole)) % count  # [I]
    ends = np.cumsum([len(each) for each in splits.values()])[:-1]
    parts = dict(zip(splits, np.split(fold_of, ends), strict=True))  # [I] of each split
    errors: list[LabelError] = []
    for fold in range(count):
        data, run = folder / f"fold_{fold}", folder / f"run_{fold}"
        is_new = write_fold(whole, fold_of == fold, data)
        if is_new or not (run / FINAL_FILE).is_file():
            train(data, run, not is_new and (run / COMMAND_FILE).is_file())
        model = load_for_inference(run, device=device)
        for name, dataset in splits.items():
            others = np.flatnonzero(parts[name] != fold).tolist()
            errors += suspect_labels(model, dataset, split=name, owner=str(run), skip=others)
    return errors


def write_fold(whole: DetectionDataset, held_out: NDArray[np.bool_], folder: Path) -> bool:
    """Write a fold as a data set with a validation split; return whether it is another one.

    Args:
        held_out: [I] images of the validation split.
    """
    texts = {}
    for split, chosen in (("train", ~held_out), ("val", held_out)):
        part = whole.subset(np.flatnonzero(chosen))
        names = [os.path.abspath(part.image_path(i)) for i in range(len(part))]
        path = folder / "annotations" / f"instances_{split}.json"
        texts[path] = json.dumps(coco_content(part, names))
    if all(path.is_file() and path.read_text() == text for path, text in texts.items()):
        return False
    for path, text in texts.items():
        write_atomic(path, text)
    return True
