"""Batches that a worker packs into one tensor."""

from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing import reductions
from torch.utils.data import Dataset

from centernet2.data.loader import _load
from centernet2.data.worker_images import LoadedImage
from centernet2.data.worker_transfer import LEAST_BYTES, pack, unpack
from centernet2.structures import Target


def loaded_image(side: int) -> LoadedImage:
    image = torch.arange(3 * side * side).to(torch.uint8).reshape(side, side, 3).permute(2, 0, 1)
    target = Target(
        boxes=torch.tensor([[1.0, 2, 3, 4]]),
        labels=torch.tensor([7]),
        masks=image[:1] > 9,
        polygons=[[torch.zeros(0, 2), torch.rand(5, 2)]],
    )
    return LoadedImage(["broken"], image, target, 3, "an id", (side, side))


def tensors_in(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = [*value.values()] if isinstance(value, dict) else value
    if not isinstance(parts, list | tuple):
        return []
    return [each for part in parts for each in tensors_in(part)]


def test_batch_comes_back_as_it_was() -> None:
    batch = [loaded_image(side=8), loaded_image(side=200), LoadedImage(["missing"])]
    packed = pack(batch)
    assert all(length >= LEAST_BYTES for length in packed.lengths) and len(packed.lengths) == 2
    returned = unpack(packed)
    assert [each._replace(image=None, target=None) for each in returned] == [
        each._replace(image=None, target=None) for each in batch
    ]
    pairs = [*zip(tensors_in(batch), tensors_in(returned), strict=True)]
    assert len(pairs) == 12
    for before, after in pairs:
        assert before.dtype == after.dtype and torch.equal(before, after)


def test_tensors_can_be_changed_and_are_apart() -> None:
    large, small = torch.zeros(LEAST_BYTES + 1, dtype=torch.uint8), torch.zeros(3)
    first, second, third = unpack(pack([large, torch.zeros(LEAST_BYTES), small]))
    first += 1
    third += 1
    assert first.sum() == LEAST_BYTES + 1 and second.sum() == 0 and third.sum() == 3
    assert second.data_ptr() % second.element_size() == 0


def test_worker_sends_one_tensor_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    rebuild = reductions.rebuild_tensor

    @wraps(rebuild)  # the pickle of the worker names it
    def count(*arguments: Any) -> Tensor:
        received.append(rebuild(*arguments))
        return received[-1]

    class Images(Dataset[LoadedImage]):
        def __getitem__(self, key: int) -> LoadedImage:
            return loaded_image(side=200)

    monkeypatch.setattr(reductions, "rebuild_tensor", count)
    (batch,) = _load(Images(), [[0, 1]], num_workers=1)
    assert len(batch) == 2 and len(received) == 1
