"""Options that a training run takes from its initial weights, or from the run it resumes."""

from collections.abc import Callable
from typing import Any

import pytest

from centernet2.builders.detector.initial_weights import fit_to_previous
from centernet2.builders.detector.loading import load_model
from centernet2.builders.evaluation.stored_results import config_of_source
from centernet2.checkpoint import WeightsError
from centernet2.config import load_config
from centernet2.jobs.card import card
from centernet2.jobs.reproduce import reproduce
from centernet2.jobs.threshold import threshold

NAME = "CenterNet2_R18_small"


@pytest.mark.parametrize(
    ("stated", "seed"), [([], 7), (["SEED", "-1"], 7), (["SEED", "5"], 5), (["SEED", "0"], 0)]
)
def test_seed_of_the_previous_run_is_kept(stated: list[str], seed: int) -> None:
    previous = load_config(NAME, ["SEED", "7"])
    assert fit_to_previous(load_config(NAME, stated), previous).run.seed == seed


@pytest.mark.parametrize(("use", "address"), [
    (card, "zoo:CenterNet2_R50_1x"),
    (card, "detectron2://R-50.pkl"),
    (threshold, "zoo:CenterNet2_R50_1x"),
    (reproduce, "zoo:CenterNet2_R50_1x"),
    (load_model, "detectron2://R-50.pkl"),
    (config_of_source, "detectron2://R-50.pkl"),
])  # fmt: skip
def test_addresses_of_published_weights_are_no_checkpoints(
    use: Callable[[str], Any], address: str
) -> None:
    with pytest.raises(WeightsError, match=f"^{address} names published weights, but a checkpoint"):
        use(address)
