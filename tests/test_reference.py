"""Every configuration computes what the reference computes: features, heads, boxes, targets, losses, gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from centernet2.checkpoint.names import reference_names
from centernet2.models.detector import Detector
from tests.reference import (
    NAMES,
    Evaluation,
    Scenes,
    Training,
    agreement,
    evaluate,
    portable_scenes,
    reference_model,
    shared_scenes,
    train,
)

FAST = ("CenterNet2_R50_1x", "CenterNet-FPN_R50_1x", "LVIS_CenterNet2_R50_Fed_1x", "CenterNet2_DLA-BiFPN-P3_4x")
ONE_LEVEL = "nuImages_CenterNet2_DLA_640_8x"  # the reference spoils its proposals there when training


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NAMES]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["portable", pytest.param("shared", marks=pytest.mark.slow)])
def scenes(request: pytest.FixtureRequest) -> Scenes:
    if request.param == "portable":
        return portable_scenes()
    return shared_scenes(request.getfixturevalue("shared") / "golden")


@pytest.fixture(scope="module")
def model(name: str, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return reference_model(name, tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def evaluation(model: Detector, scenes: Scenes) -> Evaluation:
    return evaluate(model, scenes.images)


@pytest.fixture(scope="module")
def training(model: Detector, scenes: Scenes) -> Training:
    return train(model, scenes.images, scenes.targets(model))


def assert_near(found: Tensor, expected: np.ndarray, what: str) -> None:
    """Within a thousandth of the expected tensor's spread."""
    wanted = torch.from_numpy(expected)
    assert found.shape == wanted.shape, what
    assert (found - wanted).abs().max() <= 1e-3 * wanted.std(), what


def test_features(name: str, scenes: Scenes, evaluation: Evaluation) -> None:
    golden = scenes.read(f"{name}.eval.npz")
    assert evaluation.input_shape == tuple(golden["input_shape"])
    for level, feature in evaluation.features.items():
        mean, std = golden[f"feature_{level}_mean_std"]
        assert feature.shape == tuple(golden[f"feature_{level}_shape"])
        assert (feature[:, :8, :6, :6] - torch.from_numpy(golden[f"feature_{level}_corner"])).abs().max() <= 1e-3 * std
        assert feature.mean().item() == pytest.approx(mean, abs=1e-3 * std)
        assert feature.std().item() == pytest.approx(std, rel=1e-3)


def test_head(name: str, scenes: Scenes, evaluation: Evaluation) -> None:
    golden = scenes.read(f"{name}.eval.npz")
    classes, objects, ltrb = evaluation.head
    levels = range(len(ltrb))
    assert {f"reg_{level}" for level in levels} == {key for key in golden if key.startswith("reg_")}
    assert {f"cls_{level}" for level in levels if classes} == {key for key in golden if key.startswith("cls_")}
    assert {f"agn_hm_{level}" for level in levels if objects} == {key for key in golden if key.startswith("agn_hm_")}
    for level in levels:
        step = 4 if ltrb[level].shape[3] > 80 else 1  # large maps are thinned out in the files
        assert_near(ltrb[level][:, :, ::step, ::step], golden[f"reg_{level}"], f"box distances of level {level}")
        if objects:
            assert_near(objects[level], golden[f"agn_hm_{level}"], f"objectness of level {level}")
        if classes:
            assert_near(classes[level][:, :4, ::2, ::2], golden[f"cls_{level}"], f"classes of level {level}")


def test_proposals(name: str, scenes: Scenes, evaluation: Evaluation) -> None:
    golden = scenes.read(f"{name}.eval.npz")
    if "proposals0_boxes" not in golden:
        pytest.skip("a one-stage detector's proposals are its detections")
    for i, proposals in enumerate(evaluation.proposals):
        expected = {key: golden[f"proposals{i}_{key}"] for key in ("boxes", "scores")}
        assert len(proposals.boxes) == len(expected["boxes"])
        assert agreement(proposals._asdict(), expected) >= 0.98


def test_detections(name: str, scenes: Scenes, evaluation: Evaluation) -> None:
    golden = scenes.read(f"{name}.eval.npz")
    for i, found in enumerate(evaluation.detections):
        keys = {"boxes": "boxes", "scores": "scores", "labels": "classes"}
        expected = {ours: golden[f"det{i}_{key}"] for ours, key in keys.items()}
        assert len(found["boxes"]) == len(expected["boxes"])
        assert agreement(dict(found), expected) >= 0.98


def test_targets(name: str, scenes: Scenes, model: Detector, training: Training) -> None:
    golden = scenes.read(f"{name}.train.npz")
    (index, labels, valid), ltrb, heatmap = training.targets
    if "target_pos_inds" in golden:
        assert index[valid].tolist() == golden["target_pos_inds"].tolist()
    if "target_labels" in golden:
        assert labels[valid].tolist() == golden["target_labels"].tolist()
    regressed = golden["target_reg"].max(axis=1) >= 0
    np.testing.assert_array_equal(ltrb.amax(dim=1).numpy() >= 0, regressed)
    np.testing.assert_allclose(ltrb.numpy()[regressed], golden["target_reg"][regressed], atol=1e-4)
    if "target_heatmap" in golden:
        expected = golden["target_heatmap"]
    else:
        expected = np.zeros((len(ltrb), model.proposal_generator.head.num_classes), np.float32)
        expected[tuple(golden["target_heatmap_index"].T)] = golden["target_heatmap_value"]
    np.testing.assert_allclose(heatmap.numpy(), expected, atol=1e-4)


def test_losses(name: str, scenes: Scenes, training: Training) -> None:
    golden = scenes.read(f"{name}.train.npz")
    expected = {key.removeprefix("loss/"): float(x) for key, x in golden.items() if key.startswith("loss/")}
    found = training.losses
    if name == ONE_LEVEL:
        found, expected = ({k: x for k, x in d.items() if "centernet" in k} for d in (found, expected))
    assert found == pytest.approx(expected, rel=1e-3)


def test_gradients(name: str, scenes: Scenes, training: Training) -> None:
    golden = scenes.read(f"{name}.train.npz")
    expected = dict(zip(golden["grad_names"].tolist(), golden["grad_norms"].tolist(), strict=True))
    if name == ONE_LEVEL:
        pytest.skip("the reference's second stage learns from spoiled proposals there")
    assert training.gradient_norms == pytest.approx(expected, rel=1e-2, abs=1e-6)


def test_frozen_parameters(name: str, scenes: Scenes, model: Detector) -> None:
    names = reference_names(model.state_dict())
    frozen = {names[key] for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == set(scenes.read(f"{name}.train.npz")["frozen"].tolist())
