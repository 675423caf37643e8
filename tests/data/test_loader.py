import multiprocessing
import multiprocessing.util
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from centernet2.data import loader
from centernet2.data.dataset import DetectionDataset
from centernet2.data.loader import WORKER_SIGNALS, eval_batches, global_batches, train_batches
from centernet2.data.readers.coco import load_coco
from centernet2.data.samplers import ShuffledSampler, WeightedSampler
from centernet2.data.transforms import (
    EfficientDetResizeCrop,
    RandomFlip,
    ResizeShortestEdge,
    TrainTransform,
)
from centernet2.data.worker_images import LoadedImage
from centernet2.images.image_files import ImageError
from centernet2.images.resize import FitShortestEdge
from centernet2.structures import Batch
from tests.helpers.data import assert_same_batches

AUGMENTATION = TrainTransform(
    steps=(
        EfficientDetResizeCrop(size=32, scale_range=(0.5, 2.0)),
        RandomFlip(direction="horizontal"),
    )
)


@pytest.fixture
def dataset(write: Callable[[Any], Path]) -> DetectionDataset:
    """Eleven small images, some wide, some tall, with up to three boxes."""
    sizes = [(24, 32) if i % 3 else (32, 24) for i in range(11)]
    images = [
        {"id": 100 + i, "file_name": f"{i}.png", "height": h, "width": w}
        for i, (h, w) in enumerate(sizes)
    ]
    boxes = [(i, k) for i in range(11) for k in range(i % 4)]
    annotations = [
        {"id": n, "image_id": 100 + i, "category_id": 1, "bbox": [2 + k, 3, 10, 12]}
        for n, (i, k) in enumerate(boxes)
    ]
    path = write(
        {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    )
    return load_coco(path, path.parent.parent / "images", name="small")


def batches(dataset: DetectionDataset, count: int, **changes: Any) -> list[Batch]:
    arguments: dict[str, Any] = {
        "transform": AUGMENTATION, "sampler": ShuffledSampler(len(dataset), seed=3),
        "batch_size": 2, "num_workers": 0, "start_step": 0, "aspect_ratio_grouping": True,
        "rank": 0, "world_size": 1, **changes,
    }  # fmt: skip
    return list(islice(train_batches(dataset, **arguments), count))


def test_batches_do_not_depend_on_the_workers(dataset: DetectionDataset) -> None:
    assert_same_batches(batches(dataset, 8), batches(dataset, 8, num_workers=2))


@pytest.mark.parametrize("grouping", [True, False])
def test_resumed_stream_continues(dataset: DetectionDataset, grouping: bool) -> None:
    whole = batches(dataset, 14, aspect_ratio_grouping=grouping)
    assert_same_batches(
        whole[9:], batches(dataset, 5, start_step=9, aspect_ratio_grouping=grouping)
    )


def test_processes_share_the_batches_of_one(dataset: DetectionDataset) -> None:
    whole = batches(dataset, 6, batch_size=4)
    parts = [batches(dataset, 6, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        assert parts[0][step].image_ids == batch.image_ids[0::2]
        assert parts[1][step].image_ids == batch.image_ids[1::2]
        assert torch.equal(parts[1][step].images[0], batch.images[1])


def test_augmentation_differs_between_epochs_and_seeds(dataset: DetectionDataset) -> None:
    one = dataset.subset(np.array([1]))
    seen = [
        batch.images[0]
        for batch in batches(one, 6, sampler=ShuffledSampler(1, seed=3), batch_size=1)
    ]
    other = batches(one, 1, sampler=ShuffledSampler(1, seed=4), batch_size=1)[0].images[0]
    assert len({(tuple(image.shape), int(image.sum())) for image in [*seen, other]}) == 7


def test_images_of_a_batch_have_one_length(dataset: DetectionDataset) -> None:
    resize = ResizeShortestEdge(lengths=(24, 32, 40), max_size=100, sampling="batch")
    lengths = []
    for grouping in (True, False):
        for batch in batches(
            dataset, 12, transform=TrainTransform(steps=(resize,)), aspect_ratio_grouping=grouping
        ):
            own = {min(image.shape[1:]) for image in batch.images}
            assert len(own) == 1
            lengths += own
    assert set(lengths) == {24, 32, 40}


def test_groups_neither_mix_nor_lose_images(dataset: DetectionDataset) -> None:
    seen = []
    for batch in batches(dataset, 44, batch_size=1):
        seen += batch.image_ids
    assert sorted(seen) == sorted([100 + i for i in range(11)] * 4)
    for batch in batches(dataset, 20):
        assert len({width > height for height, width in batch.sizes}) == 1


def test_global_batches_keep_the_order_of_groups() -> None:
    group = [0, 1, 0, 1, 1, 0, 0]
    result = list(global_batches(range(7), group, batch_size=2))
    assert [[draw.image for draw in batch] for batch in result] == [[0, 2], [1, 3], [5, 6]]


def test_batch_carries_targets_of_its_images(dataset: DetectionDataset) -> None:
    plain = TrainTransform(steps=())
    for batch in batches(dataset, 6, transform=plain):
        for image, target, index, image_id, size in zip(*batch, strict=True):
            assert index == image_id - 100
            assert image.shape[1:] == size == dataset.size(index)
            assert torch.equal(target["boxes"], dataset.target(index)["boxes"])


def test_global_random_state_is_unchanged(dataset: DetectionDataset) -> None:
    before = torch.get_rng_state()
    batches(dataset, 3)
    batches(dataset, 3, num_workers=1)
    assert torch.equal(before, torch.get_rng_state())


def test_broken_image_is_replaced_and_logged_once(
    dataset: DetectionDataset, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.image_path(4).write_bytes(b"no image")
    weights = torch.ones(11)
    weights[4] = 0.3
    runs = [
        batches(dataset, 30, sampler=WeightedSampler(weights, seed=0), num_workers=workers)
        for workers in (0, 2)
    ]
    assert_same_batches(*runs)
    ids = [image_id for batch in runs[0] for image_id in batch.image_ids]
    assert len(ids) == 60
    assert 104 not in ids
    assert [len(batch.images) for batch in runs[0]] == [2] * 30
    logged = [record for record in caplog.records if "4.png" in record.getMessage()]
    assert len(logged) == 2  # once in each run
    assert {record.levelname for record in logged} == {"ERROR"}  # shown by each process


def test_too_many_broken_images_stop_training(dataset: DetectionDataset) -> None:
    for i in range(5):
        dataset.image_path(i).unlink()
    with pytest.raises(ValueError, match=r"small: .* cannot be used, more than 5%.*png.* \| .*png"):
        batches(dataset, 100)


def test_resume_with_broken_images(dataset: DetectionDataset) -> None:
    dataset.image_path(4).write_bytes(dataset.image_path(4).read_bytes()[:200])
    weights = torch.ones(11)
    weights[4] = 0.3
    sampler = WeightedSampler(weights, seed=0)
    whole = batches(dataset, 30, sampler=sampler)
    assert_same_batches(
        whole[17:], batches(dataset, 13, sampler=sampler, start_step=17, num_workers=2)
    )


def test_no_usable_image_stops_at_once(dataset: DetectionDataset) -> None:
    for i in range(11):
        dataset.image_path(i).unlink()
    with pytest.raises(ValueError, match="cannot be used"):
        batches(dataset, 1, num_workers=1)


def test_image_of_another_size_is_broken(dataset: DetectionDataset) -> None:
    Image.new("RGB", (10, 20)).save(dataset.image_path(0))
    with pytest.raises(ImageError, match=r"0\.png: the image is 10 wide and 20 high, but 24 and"):
        list(evaluation(dataset))


def test_sampler_of_another_size_is_refused(dataset: DetectionDataset) -> None:
    with pytest.raises(ValueError, match="sampler has 5 images"):
        batches(dataset, 1, sampler=ShuffledSampler(5, seed=0))


def evaluation(dataset: DetectionDataset, **changes: Any) -> list[Batch]:
    arguments: dict[str, Any] = {
        "batch_size": 3, "num_workers": 0, "rank": 0, "world_size": 1, **changes,
    }  # fmt: skip
    return list(eval_batches(dataset, FitShortestEdge(length=48, max_size=100), **arguments))


def test_evaluation_sees_each_image_once(dataset: DetectionDataset) -> None:
    result = evaluation(dataset)
    assert sorted(i for batch in result for i in batch.indices) == list(range(len(dataset)))
    assert all(len({image.shape for image in batch.images}) == 1 for batch in result)
    for batch in result:
        for index, size, image in zip(batch.indices, batch.sizes, batch.images, strict=True):
            assert size == dataset.size(index)
            assert image.shape == ((3, 64, 48) if size == (32, 24) else (3, 48, 64))
    assert result[0].targets == []


@pytest.mark.parametrize("world_size", [2, 4, 13])
def test_processes_evaluate_each_image_once(dataset: DetectionDataset, world_size: int) -> None:
    shares = [evaluation(dataset, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [i for share in shares for batch in share for i in batch.image_ids]
    assert sorted(seen) == dataset.image_ids.tolist()


def test_batches_have_one_size_largest_first(dataset: DetectionDataset) -> None:
    result = evaluation(dataset, batch_size=4, size_divisibility=64)  # all are padded to 64 x 64
    assert [len(batch.images) for batch in result] == [4, 4, 3]
    areas = [batch.images[0].numel() for batch in evaluation(dataset, batch_size=4)]
    assert areas == sorted(areas, reverse=True)


def test_skipped_images(dataset: DetectionDataset) -> None:
    seen = [i for batch in evaluation(dataset, skip={0, 3}) for i in batch.indices]
    assert sorted(seen) == [i for i in range(len(dataset)) if i not in (0, 3)]


def test_evaluation_with_workers_equals_without(dataset: DetectionDataset) -> None:
    assert_same_batches(evaluation(dataset), evaluation(dataset, num_workers=2))


def test_evaluation_refuses_a_broken_image(dataset: DetectionDataset) -> None:
    dataset.image_path(6).write_bytes(b"")
    with pytest.raises(ImageError, match=r"6\.png: the image file is empty"):
        evaluation(dataset, num_workers=1)


def test_evaluation_goes_on_without_a_broken_image(dataset: DetectionDataset) -> None:
    dataset.image_path(6).write_bytes(b"")
    failed: list[LoadedImage] = []
    seen = [
        i for b in evaluation(dataset, batch_size=1, on_failure=failed.append) for i in b.indices
    ]
    assert sorted(seen) == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert [(each.image_index, each.image_id) for each in failed] == [(6, 106)]


@pytest.mark.parametrize("workers", [0, 2])
def test_known_unusable_images_are_no_new_failures(
    dataset: DetectionDataset, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    for i in range(4):
        dataset.image_path(i).unlink()
    known = replace(dataset, unusable=np.arange(11) < 4)
    seen = {i for batch in batches(known, 60, num_workers=workers) for i in batch.indices}
    assert seen == set(range(4, 11))
    assert not caplog.records


def test_training_on_tiny_coco(shared: Path) -> None:
    folder = shared / "data" / "coco_tiny" / "coco2017"
    dataset = load_coco(
        folder / "annotations" / "instances_train2017.json", folder / "train2017", name="tiny"
    )
    resize = ResizeShortestEdge(lengths=(64, 96), max_size=160, sampling="choice")
    sampler = ShuffledSampler(len(dataset), seed=0)
    for batch in batches(dataset, 20, transform=TrainTransform(steps=(resize,)), sampler=sampler):
        for image, target in zip(batch.images, batch.targets, strict=True):
            height, width = image.shape[1:]
            assert min(height, width) <= 96
            assert (target["boxes"] >= 0).all()
            assert (target["boxes"] <= torch.tensor([width, height, width, height])).all()


def test_signals_to_the_workers_lose_no_batch(dataset: DetectionDataset) -> None:
    """They reach the workers of a job whose whole process group is signalled."""
    arguments: dict[str, Any] = {
        "batch_size": 2, "num_workers": 2, "rank": 0, "world_size": 1,
        "transform": FitShortestEdge(length=32, max_size=64),
    }  # fmt: skip
    seen: list[int] = []
    for batch in eval_batches(dataset, **arguments):
        for worker in multiprocessing.active_children():
            for number in WORKER_SIGNALS:
                os.kill(worker.pid or 0, number)
        seen += batch.image_ids
    assert sorted(seen) == list(dataset.image_ids)
    assert not multiprocessing.active_children()


def test_workers_end_before_python_waits_for_them(dataset: DetectionDataset) -> None:
    """At exit, where an error may still hold the loader; Python waits without limit."""
    stream = train_batches(
        dataset, AUGMENTATION, ShuffledSampler(len(dataset), seed=0), batch_size=2, num_workers=2,
        start_step=0, aspect_ratio_grouping=False, rank=0, world_size=1,
    )  # fmt: skip
    next(stream)
    workers = multiprocessing.active_children()
    multiprocessing.util._run_finalizers(0)  # type: ignore[attr-defined]
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_worker_that_hangs_ends(dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network disk that does not answer."""
    monkeypatch.setattr(DetectionDataset, "image_path", lambda *_: time.sleep(100))
    stream = train_batches(
        dataset, AUGMENTATION, ShuffledSampler(len(dataset), seed=0), batch_size=2, num_workers=1,
        start_step=0, aspect_ratio_grouping=False, rank=0, world_size=1,
    )  # fmt: skip
    monkeypatch.setattr(loader, "DataLoader", partial(DataLoader, timeout=0.5))
    with pytest.raises(RuntimeError, match="timed out"):
        next(stream)
    for worker in multiprocessing.active_children():
        worker.join(20)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
def test_signal_to_a_starting_worker_is_no_signal_to_it(
    dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has not yet been told to ignore signals has them blocked."""
    monkeypatch.setattr(
        loader, "_ignore_stop_signals", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert_same_batches(batches(dataset, 4), batches(dataset, 4, num_workers=2))
