import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from centernet2.data import DetectionDataset
from centernet2.data.readers.coco import load_coco
from centernet2.data.samplers import (
    MixtureSampler,
    RepeatFactorSampler,
    Sampler,
    ShuffledSampler,
    WeightedSampler,
    class_aware_weights,
    repeat_factors,
)

MakeDataset = Callable[[list[list[int]]], DetectionDataset]


@pytest.fixture
def with_classes(annotations: Path) -> MakeDataset:
    """Make a data set of images with objects of these classes."""
    noise = load_coco(annotations, annotations.parent, name="noise")

    def make(classes: list[list[int]]) -> DetectionDataset:
        return replace(
            noise,
            files=np.zeros(len(classes), "S1"),
            labels=np.array([label for image in classes for label in image], np.int32),
            offsets=np.cumsum([0] + [len(image) for image in classes]),
        )

    return make


def samplers(seed: int) -> list[Sampler]:
    weights = torch.tensor([1.0, 2.5, 1.0, 4.0])
    return [
        ShuffledSampler(4, seed=seed),
        RepeatFactorSampler(weights, seed=seed),
        WeightedSampler(weights, seed=seed),
    ]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_streams_depend_on_the_seed_alone(kind: int) -> None:
    first, again, other = (list(islice(samplers(seed)[kind], 200)) for seed in (1, 1, 2))
    assert first == again != other


def test_shuffled_epochs_are_different_permutations() -> None:
    stream = iter(ShuffledSampler(50, seed=0))
    epochs = [list(islice(stream, 50)) for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("kind", [1, 2])
def test_shares_follow_the_weights(kind: int) -> None:
    drawn = list(islice(samplers(0)[kind], 20_000))
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert np.allclose(shares, np.array([1, 2.5, 1, 4]) / 8.5, atol=0.015)


def test_whole_repeat_factors_are_exact() -> None:
    stream = iter(RepeatFactorSampler(torch.tensor([1.0, 3.0]), seed=0))
    assert sorted(islice(stream, 4)) == [0, 1, 1, 1]


def test_nothing_to_sample_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        ShuffledSampler(0, seed=0)


def test_repeat_factors_by_hand(with_classes: MakeDataset) -> None:
    # class 0 in 4 of 5 images, class 1 in 1 of 5
    dataset = with_classes([[0, 0], [0, 1], [0], [], [0]])
    assert repeat_factors(dataset, threshold=0.8, sqrt=False).tolist() == [1, 4, 1, 1, 1]
    assert repeat_factors(dataset, threshold=0.8, sqrt=True).tolist() == [1, 2, 1, 1, 1]
    assert repeat_factors(dataset, threshold=0.0, sqrt=True).tolist() == [1] * 5


def test_class_aware_weights_by_hand(with_classes: MakeDataset) -> None:
    dataset = with_classes([[0, 0], [0, 1], [0], [], [0]])
    assert class_aware_weights(dataset).tolist() == [0.25, 1.25, 0.25, 0, 0.25]


def test_repeat_factors_equal_the_reference(shared: Path, with_classes: MakeDataset) -> None:
    golden = json.loads((shared / "golden" / "repeat_factors.json").read_text())
    dataset = with_classes(golden["annotations"])
    factors = repeat_factors(dataset, threshold=golden["repeat_thresh"], sqrt=True)
    assert torch.allclose(factors, torch.tensor(golden["repeat_factors"]), rtol=1e-6)


def test_class_aware_weights_equal_the_reference(shared: Path, with_classes: MakeDataset) -> None:
    golden = json.loads((shared / "golden" / "class_aware_weights.json").read_text())
    weights = class_aware_weights(with_classes(golden["annotations"]))
    assert torch.allclose(weights, torch.tensor(golden["weights"]), rtol=1e-6)


def mixture(ratios: tuple[float, ...], whole: Sampler) -> MixtureSampler:
    return MixtureSampler(whole, torch.tensor([0] * 90 + [1] * 10), ratios)


def test_mixture_follows_the_ratios() -> None:
    stream = list(islice(mixture((1.0, 3.0), ShuffledSampler(100, seed=0)), 4000))
    small = [index for index in stream if index >= 90]
    assert len(small) / len(stream) == pytest.approx(0.75, abs=0.03)
    counts = np.bincount(stream, minlength=100)
    # permutations, not independent draws
    assert counts[90:].max() - counts[90:].min() < 0.2 * counts[90:].mean()
    assert counts[:90].min() > 0
    assert stream == list(islice(mixture((1.0, 3.0), ShuffledSampler(100, seed=0)), 4000))


def test_mixture_keeps_the_weights_of_images() -> None:
    weights = torch.ones(100)
    weights[90], weights[91] = 5.0, 0.0
    for whole in (RepeatFactorSampler(weights + 1, seed=1), WeightedSampler(weights, seed=1)):
        sampler = mixture((1.0, 1.0), whole)
        assert sampler.weights[:90].sum() == pytest.approx(sampler.weights[90:].sum())
        counts = np.bincount(list(islice(sampler, 8000)), minlength=100)
        assert counts[90] / counts[92:].mean() == pytest.approx(
            float(whole.weights[90] / whole.weights[92]), rel=0.15
        )
