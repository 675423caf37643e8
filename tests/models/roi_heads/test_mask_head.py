"""The model with instance masks against the reference's numbers, and its edge cases."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import centernet2
from centernet2.checkpoint.load import load_weights
from centernet2.checkpoint.names import IGNORED, reference_names, to_reference
from centernet2.models.detector import Detector
from centernet2.models.roi_heads.mask_head import MaskHead
from centernet2.structures import Target
from tests.fill import fill, picture

NAME = "nuImages_CenterNet2_DLA_640_8x"
GOLDEN = Path(__file__).parents[2] / "golden"
NO_SAMPLING = ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8192", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0"]
SCENES = ((1, 192, 256), (2, 160, 224))
MASK_ON = ["MODEL.MASK_ON", "True", "MODEL.ROI_MASK_HEAD.NUM_CONV", "2", "MODEL.ROI_MASK_HEAD.CONV_DIM", "16"]


def filled(name: str) -> Detector:
    model = centernet2.build_model(centernet2.load_config(name, NO_SAMPLING))
    names = reference_names(model.state_dict())
    state = {
        key: torch.as_tensor(np.asarray(fill(names[key], tuple(tensor.shape))))
        for key, tensor in model.state_dict().items()
        if not key.endswith("scales")
    }
    state["proposal_generator.head.scales"] = torch.cat(
        [
            torch.as_tensor(np.asarray(fill(f"proposal_generator.centernet_head.scales.{i}.scale", (1,))))
            for i in range(len(model.proposal_generator.strides))
        ]
    )
    model.load_state_dict(state)
    return model


def ellipses(boxes: np.ndarray, height: int, width: int) -> torch.Tensor:  # bool [G, H, W]
    y, x = np.mgrid[:height, :width] + 0.5
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.T)
    inside = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + ((y - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 <= 1
    return torch.as_tensor(inside)


def scene_target(boxes: np.ndarray, labels: np.ndarray, height: int, width: int, classes: int) -> Target:
    masks = ellipses(boxes, height, width)
    return {"boxes": torch.as_tensor(boxes), "labels": torch.as_tensor(labels) % classes, "masks": masks}


def test_detections_and_losses_are_the_reference_s() -> None:
    model = filled(NAME)
    scenes = [picture(*scene) for scene in SCENES]
    images = [torch.as_tensor(pixels).permute(2, 0, 1) for pixels, _, _ in scenes]
    golden = np.load(GOLDEN / f"{NAME}.eval.npz")
    with torch.no_grad():
        detections = model.eval()(images)
    for i, found in enumerate(detections):
        assert found["masks"].shape == (len(found["boxes"]), *images[i].shape[1:])
        boxes, scores, labels, areas = (golden[f"det{i}_{key}"] for key in ("boxes", "scores", "classes", "mask_area"))
        near = np.abs(found["boxes"].numpy()[:, None] - boxes[None]).max(axis=2) < 0.1
        near &= np.abs(found["scores"].numpy()[:, None] - scores[None]) < 1e-3
        near &= found["labels"].numpy()[:, None] == labels[None]
        # several detections of one class may share a box: any of their areas will do
        near &= np.abs(found["masks"].sum(dim=(1, 2)).numpy()[:, None] - areas[None]) <= 0.01 * areas[None] + 1
        assert len(boxes) == len(near) and near.any(axis=1).mean() >= 0.98

    golden = np.load(GOLDEN / f"{NAME}.train.npz")
    targets = [scene_target(b, c, *scene[1:], 10) for (_, b, c), scene in zip(scenes, SCENES, strict=True)]
    losses = model.train()(images, targets)
    expected = {key.removeprefix("loss/"): float(golden[key]) for key in golden.files if key.startswith("loss/")}
    first_stage = {key: value for key, value in expected.items() if key.startswith("loss_centernet")}
    assert {key: losses[key].item() for key in first_stage} == pytest.approx(first_stage, rel=1e-3)
    assert losses.keys() == expected.keys()
    assert losses["loss_mask"].item() == pytest.approx(expected["loss_mask"], rel=1e-3)


def test_names_are_the_reference_s_both_ways(shared: Path, tmp_path: Path) -> None:
    golden = json.loads((shared / "golden" / "state_dicts" / f"{NAME}.json").read_text())
    model = centernet2.build_model(NAME)
    state = to_reference(model.state_dict())
    wanted = {key: shape for key, shape in golden.items() if not IGNORED.search(key)}
    assert {key: list(x.shape) for key, x in state.items() if not IGNORED.search(key)} == wanted
    torch.save({"model": {key: torch.full(shape, 0.25) for key, shape in golden.items()}}, tmp_path / "reference.pth")
    report = load_weights(model, tmp_path / "reference.pth")
    assert not (report.skipped or report.reinitialized or report.mismatched)
    assert model.roi_heads is not None and model.roi_heads.mask_head is not None
    assert (model.roi_heads.mask_head.deconv.weight == 0.25).all()


@pytest.mark.parametrize("norm", ["", "BN"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_shapes_and_names(norm: str, agnostic: bool) -> None:
    head = MaskHead(in_channels=8, num_classes=5, num_conv=2, conv_dim=6, norm=norm, cls_agnostic_mask=agnostic)
    assert head(torch.randn(3, 8, 14, 14)).shape == (3, 1 if agnostic else 5, 28, 28)
    names = set(to_reference({f"roi_heads.mask_head.{key}": x for key, x in head.state_dict().items()}))
    assert names >= {f"roi_heads.mask_head.{layer}.weight" for layer in ("mask_fcn1", "deconv", "predictor")}
    assert ("roi_heads.mask_head.mask_fcn2.norm.running_mean" in names) == (norm == "BN")


@pytest.fixture(scope="module")
def small() -> Detector:
    return centernet2.build_model(centernet2.load_config("CenterNet2_R18_small", MASK_ON))


def test_images_without_objects_train_and_give_no_masks(small: Detector) -> None:
    empty: Target = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 96, dtype=torch.bool),
    }
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    box = np.array([[10, 10, 50, 50]], np.float32)
    for targets in ([empty], [empty, scene_target(box, np.array([0]), 64, 96, 80)]):
        losses = small.train()([image] * len(targets), targets)
        assert all(loss.isfinite() for loss in losses.values())
        assert (losses["loss_mask"].item() > 0) == (len(targets) == 2)
        sum(losses.values()).backward()
    with torch.no_grad():  # an untrained detector scores nothing above the threshold
        (found,) = small.eval()([image])
    assert found["masks"].shape == (len(found["boxes"]), 64, 96)


def test_targets_without_masks_are_refused(small: Detector) -> None:
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    target: Target = {"boxes": torch.tensor([[1.0, 2, 30, 40]]), "labels": torch.tensor([0])}
    with pytest.raises(ValueError, match=r"needs 'masks' \[1, 64, 96\]"):
        small.train()([image], [target])
    with pytest.raises(ValueError, match=r"\[1, 64, 96\], not \[1, 32, 96\]"):
        small.train()([image], [{**target, "masks": torch.ones(1, 32, 96, dtype=torch.bool)}])


def test_a_one_stage_detector_has_no_masks() -> None:
    with pytest.raises(centernet2.ConfigError, match="second stage"):
        centernet2.build_model(centernet2.load_config("CenterNet-FPN_R50_1x", ["MODEL.MASK_ON", "True"]))
