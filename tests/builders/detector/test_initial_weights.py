"""Options that a training run takes from its initial weights, or from the run it resumes."""

import pytest

from centernet2.builders.detector.initial_weights import fit_to_previous
from centernet2.config import load_config

NAME = "CenterNet2_R18_small"


@pytest.mark.parametrize(
    ("stated", "seed"), [([], 7), (["SEED", "-1"], 7), (["SEED", "5"], 5), (["SEED", "0"], 0)]
)
def test_seed_of_the_previous_run_is_kept(stated: list[str], seed: int) -> None:
    previous = load_config(NAME, ["SEED", "7"])
    assert fit_to_previous(load_config(NAME, stated), previous).run.seed == seed
