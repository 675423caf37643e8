import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from centernet2.data.dataset import DetectionDataset
from centernet2.data.readers.coco import load_coco


class Sums(Dataset[float]):
    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> float:
        return float(self.dataset.xywh.sum())


def dataset_of(path: Path, repeats: int) -> DetectionDataset:
    dataset = load_coco(path, path.parent.parent / "images", name="small", masks=True)
    return dataset.subset(np.tile(np.arange(3), repeats))


def test_pickled_copy_is_equal(write: Callable[[Any], Path], content: dict[str, Any]) -> None:
    content["annotations"][0]["segmentation"] = [[4, 6, 20, 6, 20, 16]]
    dataset = dataset_of(write(content), 2)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.class_names == dataset.class_names
    assert np.array_equal(copy.files, dataset.files) and copy.files.dtype == dataset.files.dtype
    assert np.array_equal(copy.xywh, dataset.xywh)
    for i in range(len(dataset)):
        assert copy.image_path(i) == dataset.image_path(i)
        a, b = copy.target(i), dataset.target(i)
        assert a.keys() == b.keys()
        assert torch.equal(a["boxes"], b["boxes"])


def test_pickled_size_is_constant(write: Callable[[Any], Path], content: dict[str, Any]) -> None:
    path = write(content)
    small, large = (len(ForkingPickler.dumps(dataset_of(path, repeats))) for repeats in (1, 5_000))
    assert abs(large - small) < 200


@pytest.mark.slow
def test_spawned_worker_sees_the_same_boxes(
    write: Callable[[Any], Path], content: dict[str, Any]
) -> None:
    dataset = dataset_of(write(content), 1)
    loader = DataLoader(
        Sums(dataset), batch_size=2, num_workers=2, multiprocessing_context="forkserver"
    )
    assert [batch.tolist() for batch in loader] == [[float(dataset.xywh.sum())] * 2] * 2
