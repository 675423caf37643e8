"""Batch normalization of a map that has one cell, in a batch of one image."""

from pathlib import Path

import pytest

import centernet2
from centernet2.config import ConfigError
from tests.helpers.training import TINY, write_blocks


def test_one_cell_of_one_image_is_refused_with_what_to_change(tmp_path: Path) -> None:
    message = r"map of shape \[1, 64, 1, 1\]: one image, one cell; .* \(SOLVER\.IMS_PER_BATCH\)"
    with pytest.raises(ConfigError, match=message):
        centernet2.train(
            "CenterNet2_Lite_N", *TINY, "MODEL.TIMM.PRETRAINED", "False", "SOLVER.IMS_PER_BATCH", 1,
            data=write_blocks(tmp_path / "data"), output_dir=tmp_path / "run", device="cpu",
        )  # fmt: skip
