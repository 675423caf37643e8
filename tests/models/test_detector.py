"""The whole detector against the reference's numbers, from weights that are a function of name and shape."""

from pathlib import Path

import numpy as np
import pytest
import torch

import centernet2
from centernet2.checkpoint.names import reference_names, to_reference
from centernet2.models.detector import Detector
from tests.fill import fill, picture

GOLDEN = Path(__file__).parents[1] / "golden"
R50 = [
    "CenterNet2_R50_1x", "CenterNet2-F_R50_1x", "CenterNet-FPN_R50_1x", "O365_CenterNet2_R50_1x",
    "LVIS_CenterNet2_R50_1x", "LVIS_CenterNet2_R50_Fed_1x",
]  # fmt: skip
NO_SAMPLING = [
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8192", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0",
    "MODEL.DLA.NORM", "BN", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CAT", "1",
]  # fmt: skip
SCENES = ((1, 192, 256), (2, 160, 224))


@pytest.fixture(scope="module", params=R50)
def golden_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Detector]:
    name: str = request.param
    config = centernet2.load_config(name, NO_SAMPLING)
    model = centernet2.build_model(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in to_reference(model.state_dict()).items()}
    if model.roi_heads is None:
        shapes |= {"pixel_mean": (3, 1, 1), "pixel_std": (3, 1, 1)}
    state = {key: torch.as_tensor(np.asarray(fill(key, shape))) for key, shape in shapes.items()}
    frequency = torch.tensor([float(1 + (i * 7919) % 1977) for i in range(1, 1204)]) ** 0.5
    state |= {key: frequency for key in state if key.endswith(("freq_weight", "fed_loss_cls_weights"))}
    path = tmp_path_factory.mktemp("weights") / "reference.pth"
    torch.save({"model": state}, path)
    return name, centernet2.build_model(config, weights=path)


def images() -> list[torch.Tensor]:
    return [torch.as_tensor(picture(*scene)[0]).permute(2, 0, 1) for scene in SCENES]


def test_detections_are_the_reference_s(golden_model: tuple[str, Detector]) -> None:
    name, model = golden_model
    golden = np.load(GOLDEN / f"{name}.eval.npz")
    with torch.no_grad():
        detections = model.eval()(images())
    for i, found in enumerate(detections):
        boxes, scores, labels = (golden[f"det{i}_{key}"] for key in ("boxes", "scores", "classes"))
        assert len(found["boxes"]) == len(boxes)
        near = np.abs(found["boxes"].numpy()[:, None] - boxes[None]).max(axis=2) < 0.1
        near &= np.abs(found["scores"].numpy()[:, None] - scores[None]) < 1e-3
        near &= found["labels"].numpy()[:, None] == labels[None]
        assert near.any(axis=1).mean() >= 0.98


def test_losses_and_gradients_are_the_reference_s(golden_model: tuple[str, Detector]) -> None:
    name, model = golden_model
    golden = np.load(GOLDEN / f"{name}.train.npz")
    classes = 80 if model.roi_heads is None else model.roi_heads.num_classes
    scenes = [picture(*scene) for scene in SCENES]
    targets = [{"boxes": torch.as_tensor(b), "labels": torch.as_tensor(c) % classes} for _, b, c in scenes]
    model.zero_grad()
    losses = model.train()(images(), targets)
    expected = {key.removeprefix("loss/"): float(golden[key]) for key in golden.files if key.startswith("loss/")}
    assert {key: loss.item() for key, loss in losses.items()} == pytest.approx(expected, rel=1e-3)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rounded = model(images(), targets)
    assert {loss.dtype for loss in rounded.values()} == {torch.float32}
    assert {key: loss.item() for key, loss in rounded.items()} == pytest.approx(expected, rel=0.02)

    sum(losses.values()).backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    frozen = [key for key, p in model.named_parameters() if not p.requires_grad]
    names = reference_names(model.state_dict())
    assert {names[key] for key in frozen} == set(golden["frozen"].tolist())
    gradients = to_reference({key: p.grad for key, p in trained.items()})
    norms = {key: gradient.norm().item() for key, gradient in gradients.items()}
    expected = dict(zip(golden["grad_names"].tolist(), golden["grad_norms"].tolist(), strict=True))
    assert norms == pytest.approx(expected, rel=1e-2, abs=1e-6)


def test_a_batch_without_objects_has_finite_losses() -> None:
    model = centernet2.build_model("CenterNet2_R18_small").train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = model([torch.zeros(3, 64, 96, dtype=torch.uint8)], [empty])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_training_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="one target per image"):
        centernet2.build_model("CenterNet2_R18_small").train()([torch.zeros(3, 64, 64, dtype=torch.uint8)])
