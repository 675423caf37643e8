import math
from functools import partial

import pytest
import torch

from centernet2.training.ema import AveragedWeights
from centernet2.training.step import FinishedStep
from tests.helpers.toy import Run, ToyDetector, spoil_step, stream, weights


def test_average_by_hand() -> None:
    run = Run(ToyDetector())
    average = AveragedWeights(run.model, decay=0.5, warmup_iters=2)
    expected, seen = weights(run.model), []

    def follow(step: FinishedStep) -> None:
        nonlocal expected
        decay = 0.5 * (1 - math.exp(-step.iteration / 2))
        expected = decay * expected + (1 - decay) * weights(run.model)
        seen.append(torch.cat([value.flatten() for value in average.state_dict().values()]))
        torch.testing.assert_close(seen[-1], expected)

    run.train(stream(), 0, 4, [average, follow])
    assert len(seen) == 4

    raw = weights(run.model).clone()
    with average.applied():
        torch.testing.assert_close(weights(run.model), expected)
    assert torch.equal(weights(run.model), raw)
    torch.testing.assert_close(
        torch.cat([value.flatten() for value in average.state_dict().values()]), expected
    )


def test_counters_and_state_are_restored() -> None:
    norm = torch.nn.BatchNorm1d(2)
    average = AveragedWeights(norm, decay=0.9, warmup_iters=0)
    norm.num_batches_tracked += 5
    average(FinishedStep(1, 2, {}, torch.tensor(True), [], 0.1, 0.0, 0.0))
    assert average.state_dict()["num_batches_tracked"] == 5
    other = AveragedWeights(torch.nn.BatchNorm1d(2), decay=0.9, warmup_iters=0)
    other.load_state_dict(average.state_dict())
    assert other.state_dict()["num_batches_tracked"] == 5


def test_skipped_steps_do_not_change_average() -> None:
    run = Run(ToyDetector())
    average = AveragedWeights(run.model, decay=0.5, warmup_iters=0)
    seen = []

    def look(step: FinishedStep) -> None:
        seen.append(torch.cat([value.flatten() for value in average.state_dict().values()]))

    run.train(stream(make=partial(spoil_step, {1})), 0, 3, [average, look])
    assert torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[2], seen[1])


def test_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay is 1\.0; choose"):
        AveragedWeights(ToyDetector(), decay=1.0, warmup_iters=0)
