"""Options in unpublished combinations, against numbers of the reference.

For each combination, tests/golden/options.json holds the options, and of a batch of two pictures
whose sides are no multiples of a stride: the losses, the norm of all gradients, and at most twenty
detections per picture. The networks are small.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.fill import picture
from tests.helpers.reference import GOLDEN, agreement, evaluate, reference_model, train

CASES = json.loads((GOLDEN / "options.json").read_text())
PICTURES = [picture(1, 97, 131), picture(2, 64, 150)]


@pytest.mark.parametrize("title", CASES)
def test_option(title: str, tmp_path: Path) -> None:
    case = CASES[title]
    model = reference_model(case["config"], tmp_path, tuple(case["options"]))
    images = [torch.from_numpy(image).permute(2, 0, 1) for image, _, _ in PICTURES]
    evaluation = evaluate(model, images)
    for actual, expected in zip(evaluation.detections, case["detections"], strict=True):
        top = {key: x[:20] for key, x in actual.items()}
        # one of twenty detections may differ
        assert agreement(top, {key: np.array(x) for key, x in expected.items()}) >= 0.95

    targets = [
        {"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c) % model.num_classes}
        for _, b, c in PICTURES
    ]
    training = train(model, images, targets)
    assert training.losses == pytest.approx(case["losses"], rel=1e-3, abs=1e-6)
    total = sum(norm**2 for norm in training.gradient_norms.values()) ** 0.5
    assert total == pytest.approx(case["gradient_norm"], rel=1e-2)
