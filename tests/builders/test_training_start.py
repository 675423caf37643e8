"""Start of a training run from a checkpoint of other classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders.loading import config_of
from centernet2.builders.training_start import FromWeights, Resume, load_start
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
    start, model = Resume(path, load_checkpoint(path), {}), build_for("dog", "cat")
    with pytest.raises(centernet2.ConfigError, match=r"model\.pth .* 'cat' there and 'dog' in"):
        load_start(model, config_of(model.info), start)
    model = build_for("cat", "dog")
    load_start(model, config_of(model.info), start)
