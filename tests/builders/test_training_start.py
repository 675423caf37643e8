"""Start of a training run from a checkpoint of other classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders.loading import config_of
from centernet2.builders.training_start import (
    FromWeights,
    Resume,
    fit_to_start,
    load_start,
    require_same_classes,
)
from centernet2.checkpoint import load_checkpoint, read_weights
from tests.helpers.jobs import build_untrained, save_untrained

CLASS_LAYERS = {
    f"roi_heads.stages.{k}.cls_score.{part}" for k in range(3) for part in ("weight", "bias")
}


def build_for(*class_names: str) -> centernet2.Detector:
    """Build a detector with these classes, whose parameters are all 7."""
    model = build_untrained(classes=len(class_names))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    model.info = replace(model.info, class_names=class_names)
    return model


@pytest.mark.parametrize(
    ("class_names", "left_out"), [(("cat", "dog"), set()), (("dog", "cat"), CLASS_LAYERS)]
)
def test_class_layers_of_other_classes_are_not_loaded(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    class_names: tuple[str, ...],
    left_out: set[str],
) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    model, saved = build_for(*class_names), load_checkpoint(path).weights
    load_start(model, config_of(model.info), FromWeights(read_weights(path)))
    parameters = dict(model.named_parameters())
    assert {n for n, each in parameters.items() if not torch.equal(each, saved[n])} == left_out
    assert ("class 0 is 'cat' there and 'dog' in the data" in caplog.text) == bool(left_out)


def test_resume_on_other_classes_is_refused(tmp_path: Path) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    start = Resume(path, load_checkpoint(path), {})
    with pytest.raises(centernet2.ConfigError, match=r"model\.pth .* 'cat' there and 'dog' in"):
        require_same_classes(start, ("dog", "cat"))
    with pytest.raises(
        centernet2.ConfigError, match=r"2 there \(cat, dog\), 1 in the data \(cat\)"
    ):
        require_same_classes(start, ("cat",))
    require_same_classes(start, ("cat", "dog"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("MODEL.FPN.OUT_CHANNELS", "32", "the weights belong to the network"),
        ("MODEL.MASK_ON", "True", "the weights belong to the network"),
        ("SOLVER.OPTIMIZER", "ADAMW", "of the other optimizer"),
        ("MODEL.WEIGHTS", "other.pth", "only the start of a training run reads it"),
        ("DATASETS.VAL_FRACTION", "0.5", "on images that it was trained on"),
        ("MODEL.BACKBONE.FREEZE_AT", "4", "the trained layers"),
    ],
)
def test_change_that_resuming_refuses_is_named(
    tmp_path: Path, key: str, value: str, reason: str
) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    start = Resume(path, load_checkpoint(path), {})
    before = config_of(start.checkpoint.info)
    with pytest.raises(centernet2.ConfigError) as error:
        fit_to_start(before.override([key, value, "SOLVER.BASE_LR", "0.5"]), start)
    shown = "''" if before[key] == "" else before[key]
    assert f"{key} {shown} -> {value}" in str(error.value)
    assert reason in str(error.value)
    assert "SOLVER.BASE_LR" not in str(error.value)
    assert fit_to_start(before.override(["SOLVER.BASE_LR", "0.5"]), start).optimizer.base_lr == 0.5
