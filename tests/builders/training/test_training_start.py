"""Start of a training run from a checkpoint of other classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import centernet2
from centernet2.builders.detector.initial_weights import named_weights
from centernet2.builders.detector.loading import config_of
from centernet2.builders.training.train_command import given_command
from centernet2.builders.training.training_start import (
    FromScratch,
    FromWeights,
    Resume,
    choose_start,
    fit_to_start,
    in_classes_of,
    load_start,
)
from centernet2.checkpoint import load_checkpoint, read_weights
from centernet2.data import rename_classes
from centernet2.zoo import zoo_model
from tests.helpers.data import load_split
from tests.helpers.jobs import build_untrained, save_untrained
from tests.helpers.training import write_blocks

HEADS = [f"roi_heads.stages.{k}.cls_score" for k in range(3)]
MASKS = "roi_heads.mask_branch.head.predictor"
NO_OPTIONS: list[str] = []

CLASS_SPECIFIC = [
    "MODEL.ROI_HEADS.NAME", "CustomROIHeads", "MODEL.MASK_ON", "True",
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "False",
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True",
]  # fmt: skip
ONE_STAGE = [
    "MODEL.META_ARCHITECTURE", "CenterNetDetector", "MODEL.CENTERNET.ONLY_PROPOSAL", "False",
    "MODEL.CENTERNET.WITH_AGN_HM", "False",
]  # fmt: skip


def build_for(*class_names: str, options: list[str] = NO_OPTIONS) -> centernet2.Detector:
    """Build a detector with these classes, whose parameters are all 7."""
    model = build_untrained(*options, classes=len(class_names))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    model.info = replace(model.info, class_names=class_names)
    return model


def blocks(tensor: torch.Tensor, like: torch.Tensor, count: int, larger: int) -> torch.Tensor:
    """Return the values of `count` classes as [C or C + 1, ...], of a tensor that has them."""
    (dim,) = [i for i in range(tensor.ndim) if tensor.shape[i] != like.shape[i]]
    size = (like.shape[dim] - tensor.shape[dim]) // (larger - count)
    return tensor.movedim(dim, 0).unflatten(0, (-1, size))


@pytest.mark.parametrize(("options", "layers"), [
    ([], HEADS),
    (CLASS_SPECIFIC, [HEADS[0], "roi_heads.stages.0.bbox_pred", MASKS]),
    (ONE_STAGE, ["proposal_generator.head.cls_logits"]),
], ids=["cascade", "class-specific", "one-stage"])  # fmt: skip
def test_class_layers_are_joined_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: list[str], layers: list[str]
) -> None:
    """The classes cat and dog of a checkpoint become the classes 2 and 0."""
    path = save_untrained(tmp_path / "model.pth", ("cat", "bee", "dog", "ape"), *options)
    model, saved = build_for("dog", "cow", "cat", options=options), load_checkpoint(path).weights
    load_start(model, config_of(model.info), FromWeights(read_weights(path)))
    found = set()
    for name, tensor in model.named_parameters():
        if tensor.shape == saved[name].shape:
            assert torch.equal(tensor, saved[name])
            continue
        found.add(name)
        own = blocks(tensor.detach(), saved[name], 3, 4)
        given = blocks(saved[name], tensor, 4, 3)
        assert torch.equal(own[[0, 2]], given[[2, 0]]) and (own[1] == 7).all()
        assert torch.equal(own[3:], given[4:])  # of the background
    assert found == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert "joined by name for 2 classes (dog, cat); 1 class (cow) of the data" in caplog.text


def test_same_classes_are_loaded_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    model, saved = build_for("cat", "dog"), load_checkpoint(path).weights
    load_start(model, config_of(model.info), FromWeights(read_weights(path)))
    assert all(torch.equal(each, saved[name]) for name, each in model.named_parameters())
    assert "other classes" not in caplog.text


def test_class_layers_without_a_common_name_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    model, saved = build_for("ant", "bee"), load_checkpoint(path).weights
    load_start(model, config_of(model.info), FromWeights(read_weights(path)))
    differ = {n for n, each in model.named_parameters() if not torch.equal(each, saved[n])}
    assert differ == {f"{head}.{part}" for head in HEADS for part in ("weight", "bias")}
    assert "it has 2 classes (cat, dog), and the data have 2 classes (ant, bee)" in caplog.text


@pytest.mark.parametrize("given", ["weights", "MODEL.WEIGHTS"])
def test_named_weights_precede_those_of_timm(tmp_path: Path, given: str) -> None:
    path = save_untrained(tmp_path / "old.pth")
    config = centernet2.load_config("CenterNet2_Lite_N")
    if given == "weights":
        start = choose_start(config, tmp_path, weights=path)
    else:
        start = choose_start(config.replace({given: str(path)}), tmp_path)
    assert isinstance(start, FromWeights) and start.file.origin == str(path)


def test_timm_precedes_the_address_of_a_base_config() -> None:
    config = centernet2.load_config("CenterNet2_Lite_N", ["MODEL.WEIGHTS", "detectron2://R-50.pkl"])
    assert named_weights(config, None) is None
    command = given_command(config, {}, data=None, data_path=None, weights=None, device=None)
    assert command.initial_weights == "timm's weights of tf_efficientnet_lite0"
    plain = config.replace({"MODEL.TIMM.PRETRAINED": False})
    assert named_weights(plain, None) == "detectron2://R-50.pkl"


def test_published_model_has_the_classes_of_its_data(tmp_path: Path) -> None:
    """A file of the reference has names of its own, and no classes."""
    names = zoo_model("zoo:CenterNet2_R50_1x").class_names
    saved = build_for(*names)
    with torch.no_grad():
        for head in HEADS:
            saved.get_parameter(f"{head}.bias").copy_(torch.arange(81))
    centernet2.export_reference_checkpoint(saved, tmp_path / "published.pth")
    file = read_weights(tmp_path / "published.pth")
    assert file.kind == "reference"
    model = build_for("my own", "dog", "person")
    load_start(model, config_of(model.info), FromWeights(file, names))
    for head in HEADS:
        bias = model.get_parameter(f"{head}.bias").tolist()
        assert bias == [7, names.index("dog"), names.index("person"), 80]


def test_resume_numbers_the_classes_as_before(tmp_path: Path) -> None:
    path = save_untrained(tmp_path / "model.pth", ("cat", "dog"))
    start = Resume(path, load_checkpoint(path), {})
    data = write_blocks(tmp_path / "data", "block", "brick")
    dataset = load_split(data, "val")
    swapped = rename_classes(dataset, {"block": "dog", "brick": "cat"})
    assert swapped.class_names == ("dog", "cat")
    again = in_classes_of(start, swapped)
    assert again.class_names == ("cat", "dog") and again.labels.tolist() == [1] * 4
    assert in_classes_of(FromScratch(), swapped) is swapped
    with pytest.raises(
        centernet2.ConfigError,
        match=r"model\.pth was trained on 2 classes \(cat, dog\), and .*_val has 2 classes "
        r"\(block, brick\); .*\(--class-map",
    ):
        in_classes_of(start, dataset)


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("MODEL.FPN.OUT_CHANNELS", "32", "the weights belong to the network"),
    ("MODEL.MASK_ON", "True", "the weights belong to the network"),
    ("SOLVER.OPTIMIZER", "ADAMW", "of the other optimizer"),
    ("MODEL.WEIGHTS", "other.pth", "only the start of a training run reads it"),
    ("DATASETS.VAL_FRACTION", "0.5", "on images that it was trained on"),
    ("MODEL.BACKBONE.FREEZE_AT", "4", "the trained layers"),
])  # fmt: skip
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
