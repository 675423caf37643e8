"""Training steps with a loss or gradient that is not finite."""

import json
import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from centernet2.devices import Precision
from centernet2.structures import Target
from centernet2.training.nonfinite import NonFiniteError, NonFiniteGuard
from centernet2.training.step import FinishedStep
from tests.helpers.toy import Run, ToyDetector, spoil_step, stream, weights


def train(guard: NonFiniteGuard, *, bad: set[int], stop: int) -> None:
    Run(ToyDetector()).train(stream(make=partial(spoil_step, bad)), 0, stop, [guard])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_non_finite_step_changes_nothing(precision: Precision) -> None:
    """Weights and momentum stay; only the schedule advances."""
    run = Run(ToyDetector(), precision=precision)
    if precision == "fp16":
        # the usual 65536 overflows at first
        run.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    trace: list[Tensor] = []
    finite: list[bool] = []

    def look(step: FinishedStep) -> None:
        buffers = [value["momentum_buffer"].flatten() for value in run.optimizer.state.values()]
        trace.append(torch.cat([weights(run.model), *buffers]))
        finite.append(bool(step.finite))

    run.train(stream(make=partial(spoil_step, {0, 3})), 0, 6, [look])
    assert finite == [False, True, True, False, True, True]
    assert torch.equal(trace[0], torch.cat([weights(ToyDetector()), torch.zeros(8)]))
    assert torch.equal(trace[3], trace[2])
    assert not torch.equal(trace[4], trace[3])
    assert bool(trace[-1].isfinite().all())
    assert run.scaler.get_scale() == (64 if precision == "fp16" else 1)


def test_non_finite_step_keeps_batch_statistics() -> None:
    """Otherwise a NaN would stay in the running means."""

    class Normed(ToyDetector):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)

        def forward(self, images: list[Tensor], targets: list[Target]) -> dict[str, Tensor]:
            spoil = torch.stack([target["boxes"].sum() for target in targets]).view(-1, 1, 1, 1)
            normed = self.norm(torch.stack(images).float() + 0 * spoil)
            return super().forward(list(normed), targets)

    model = Normed()
    trace: list[tuple[Tensor, int]] = []

    def look(step: FinishedStep) -> None:
        norm = model.norm
        statistics = torch.cat([norm.running_mean, norm.running_var])  # type: ignore[list-item]
        trace.append((statistics, int(model.norm.num_batches_tracked or 0)))

    Run(model).train(stream(make=partial(spoil_step, {2})), 0, 4, [look])
    assert [count for _, count in trace] == [1, 2, 2, 3]
    assert torch.equal(trace[2][0], trace[1][0])
    assert not torch.equal(trace[3][0], trace[2][0])
    assert bool(trace[3][0].isfinite().all())


def test_non_finite_loss_is_noticed() -> None:
    class Sly(ToyDetector):
        def forward(  # type: ignore[override]
            self, images: list[Tensor], targets: list[object]
        ) -> dict[str, Tensor]:
            losses = super().forward(images, targets)  # type: ignore[arg-type]
            return {**losses, "loss_c": torch.tensor(float("inf"))}

    model = Sly()
    before = weights(model)
    steps: list[FinishedStep] = []
    Run(model).train(stream(), 0, 1, [steps.append])
    assert not steps[0].finite
    assert torch.equal(weights(model), before)


def test_skipped_steps_are_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=3, period=4)
    with caplog.at_level(logging.WARNING):
        train(guard, bad={0, 1, 3, 5}, stop=6)
    assert (guard.skipped, guard.in_a_row) == (4, 1)
    records = [json.loads(line) for line in guard.path.read_text().splitlines()]
    assert [record["iteration"] for record in records] == [1, 2, 4, 6]
    assert records[1]["image_ids"] == [100, 101]
    assert records[1]["losses"]["loss_a"] == "nan"
    assert isinstance(records[1]["losses"]["loss_b"], float)
    assert "Iteration 4 was skipped" in caplog.text


@pytest.mark.parametrize("period", [1, 2, 4])
def test_too_many_skipped_steps_raise(tmp_path: Path, period: int) -> None:
    """The guard counts across its periodic checks."""
    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=3, period=period)
    message = r"in the last 3 of 4 iterations; .*nonfinite\.jsonl"
    with pytest.raises(NonFiniteError, match=message):
        train(guard, bad={1, 2, 3}, stop=8)
    assert len(guard.path.read_text().splitlines()) == 3


@pytest.mark.parametrize(("bad", "diverges"), [
    ({0, 1, 2, 3}, True),
    ({1, 2, 3}, True),
    ({2, 3}, False),
    ({0, 1, 2}, False),
])  # fmt: skip
def test_run_that_ends_with_skipped_steps_has_diverged(
    tmp_path: Path, bad: set[int], diverges: bool
) -> None:
    """If they are most of its steps: a run shorter than the limit, too."""
    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=20, period=20)
    message = f"in the last {len(bad)} of 4 iterations;"
    with pytest.raises(NonFiniteError, match=message) if diverges else nullcontext():
        train(guard, bad=bad, stop=4)


def test_resumed_run_may_skip_the_last_of_many_steps(tmp_path: Path) -> None:
    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=20, period=20)
    Run(ToyDetector()).train(stream(make=partial(spoil_step, {0})), 3, 4, [guard])
    assert (guard.skipped, guard.in_a_row) == (1, 1)


def test_scaler_may_skip_all_steps_of_a_short_run(tmp_path: Path) -> None:
    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=20, period=20, with_scaler=True)
    train(guard, bad={0, 1, 2, 3}, stop=4)
    assert guard.in_a_row == 4


def test_run_that_is_stopped_has_not_diverged(tmp_path: Path) -> None:
    """It saves a checkpoint, and may be resumed."""

    def stop(step: FinishedStep) -> None:
        step.stop = True

    guard = NonFiniteGuard(tmp_path / "nonfinite.jsonl", limit=20, period=20)
    Run(ToyDetector()).train(stream(make=partial(spoil_step, {0})), 0, 4, [stop, guard])
    assert (guard.skipped, guard.in_a_row) == (1, 1)
