"""The best evaluation of a training run, and early stopping."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)


class BestResult:
    """Record of the best evaluation and of the number of evaluations since.

    Args:
        names: metrics to compare, such as those of the raw and of the averaged weights.
        patience: evaluations without improvement after which training should stop; 0: never.
    """

    def __init__(self, names: Sequence[str], *, patience: int) -> None:
        self.names = names
        self.patience = patience
        self.best = -math.inf
        self.waited = 0  # evaluations since the best one
        self.iteration = 0  # of the newest evaluation

    def update(self, iteration: int, results: Mapping[str, float]) -> str | None:
        """Add an evaluation; return the name of the metric that is a new best, or None."""
        finite = {
            name: results[name] for name in self.names if math.isfinite(results.get(name, math.nan))
        }
        self.iteration = iteration
        name = max(finite, key=lambda name: finite[name], default=self.names[0])
        if finite.get(name, -math.inf) > self.best:
            self.best, self.waited = finite[name], 0
            return name
        self.waited += 1
        if self.is_out_of_patience:
            logger.warning(
                "%s was not above %.2f in %d evaluations: training stops.",
                name,
                self.best,
                self.waited,
            )
        return None

    @property
    def is_out_of_patience(self) -> bool:
        """Whether training should stop."""
        return 0 < self.patience <= self.waited

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "iteration": self.iteration}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        self.best, self.waited, self.iteration = (
            state_dict[key] for key in ("best", "waited", "iteration")
        )
