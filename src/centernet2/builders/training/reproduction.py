"""Train again as a card says, and compare the weights."""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from centernet2 import distributed
from centernet2.builders.detector.initial_weights import named_weights
from centernet2.builders.training.train_command import TrainCommand, absolute, previous_command
from centernet2.builders.training.train_to_end import run_to_end
from centernet2.builders.training.training_origin import describe_data
from centernet2.builders.training.training_run import TrainingRun
from centernet2.builders.training.training_setup import set_up
from centernet2.checkpoint import load_checkpoint
from centernet2.checkpoint.checkpoint import BEST_FILE, FINAL_FILE, digest_of
from centernet2.files import finite_or_none
from centernet2.structures import StrPath
from centernet2.threads import cpu_threads
from centernet2.training.run_state import AVERAGED, FINAL_AVERAGED_FILE, METRIC

TOLERANCE = 0.5  # of AP, where weights cannot be equal to the bit
REPRODUCIBLE = (FINAL_FILE, FINAL_AVERAGED_FILE, BEST_FILE)  # which every run like it keeps

logger = logging.getLogger(__name__)


class Reproduction(NamedTuple):
    """How a training run came out that was done again."""

    same_weights: bool  # to the bit
    inexact: tuple[str, ...]  # why they need not be; empty: they must be
    before: float | None  # AP in the card; None: not evaluated
    after: float | None

    @property
    def change(self) -> float | None:
        """Difference in AP; None: not known."""
        known = self.before is not None and self.after is not None
        return self.after - self.before if known else None  # type: ignore[operator]

    @property
    def is_same(self) -> bool:
        """Whether the run came out the same: to the bit, or elsewhere within tolerance."""
        is_near = self.change is not None and abs(self.change) <= TOLERANCE
        return self.same_weights or (bool(self.inexact) and is_near)

    def text(self) -> list[str]:
        """Return the verdict, and why weights need not be equal, as lines."""
        change = (
            "AP is not known"
            if self.change is None
            else (f"AP is {self.after:.2f}, and was {self.before:.2f} ({self.change:+.2f})")
        )
        if self.same_weights:
            return [f"the same: the weights are equal to the bit; {change}"]
        if not self.inexact:
            return [f"not the same: the weights differ, and should not; {change}"]
        verdict = "the same" if self.is_same else "not the same"
        reasons = [f"- {reason}" for reason in self.inexact]
        within = (
            f"within {TOLERANCE:g} is the same, since the weights need not be equal to the bit:"
        )
        return [f"{verdict}: {change}; {within}", *reasons]


def reproduce_run(
    card: Mapping[str, Any], output: Path, *, data: StrPath | None, resume: bool
) -> Reproduction:
    """Train as a card says, into a folder, and compare.

    Args:
        card: what `read_card` returns.
        output: folder of the new run.
        data: the data, if they are in another place.
        resume: continue an interrupted reproduction.

    Raises:
        ValueError: the data or the initial weights are others, or the card is of a file that a run
            does not always keep.
    """
    started = time.monotonic()
    name, origin = card["file"], card["origin"]
    if name not in REPRODUCIBLE:
        raise ValueError(
            f"the card is of {name}, which a run deletes; write that of {FINAL_FILE} or {BEST_FILE}"
        )
    command = TrainCommand.from_dict(origin["command"])
    command = replace(command, overrides={**command.overrides, "SEED": origin["seed"]})
    if data is not None:
        command = replace(command, data=absolute(data), data_path=None)
    previous = previous_command(output) if resume else None
    threads = origin["machine"]["threads"]
    with cpu_threads(min(threads, torch.get_num_threads())):
        run = set_up(command, previous, output, resume=resume, started=started)
        with distributed.failing_together():
            _require_same_data(run, origin)
            _require_same_start(run, origin)
        inexact = tuple(differences(origin, run.state.origin))
        for reason in inexact:
            logger.warning("the weights need not be equal to the bit: %s", reason)
        run_to_end(run)
    found = load_checkpoint(output / name)
    metric = f"{AVERAGED}{METRIC}" if name == FINAL_AVERAGED_FILE else METRIC
    return Reproduction(
        digest_of(found.weights) == card["weights"],
        inexact,
        card["metrics"].get(metric),
        finite_or_none(found.metrics.get(metric, math.nan)),
    )


def _require_same_data(run: TrainingRun, origin: Mapping[str, Any]) -> None:
    """Raise ValueError unless both splits are those of the card."""
    if not distributed.is_main_process():
        return
    for split, dataset in (("train", run.train_set), ("val", run.val_set)):
        before, now = origin["data"][split], describe_data(dataset)
        if now["sha256"] != before["sha256"]:
            raise ValueError(
                f"the {split} split is not that of the card: {now['images']:,} images and "
                f"{now['objects']:,} objects in {dataset.folder}, and {before['images']:,} and "
                f"{before['objects']:,} in the card, or other names, sizes or annotations; "
                "give the data of the run as --data"
            )


def _require_same_start(run: TrainingRun, origin: Mapping[str, Any]) -> None:
    """Raise ValueError if the initial weights are a file that has changed.

    With other versions nothing is known: they may draw other random weights for the rest.
    """
    now, command = run.state.origin, run.command
    before = origin["initial_weights"]  # empty: not known, of a run that was resumed
    if not now or not before or named_weights(command.config, command.weights) is None:
        return
    is_alike = all(now[key] == origin[key] for key in ("versions", "seed"))
    if is_alike and now["initial_weights"] != before:
        raise ValueError(
            f"{command.initial_weights} does not hold the weights that the run of the card started "
            "from; put that file back"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return why weights need not be equal to the bit, of the origins of two runs."""
    command = TrainCommand.from_dict(before["command"]).config.run
    reasons = []
    if command.seed < 0:
        reasons.append("the run had no --seed, so its threads followed the load of the machine")
    if command.max_minutes > 0:
        reasons.append("a limit in minutes ends a run by the clock (SOLVER.MAX_MINUTES)")
    if before.get("resumed_at"):
        reasons.append("the run was interrupted and resumed")
    if not before["machine"]["device"].startswith("cpu"):
        reasons.append(f"{before['machine']['device']} adds in any order")
    for part in ("versions", "machine"):
        names = [*dict.fromkeys([*before[part], *now.get(part, {})])]
        reasons += [
            f"{name} is {now[part].get(name)}, and was {before[part].get(name)}"
            for name in names
            if now and before[part].get(name) != now[part].get(name)
        ]
    return reasons
