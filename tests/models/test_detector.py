"""The detector as a whole: what a Trace holds, masks, modes, errors."""

import pytest
import torch
from torch import Tensor

import centernet2
from centernet2.models.detector import Detector
from centernet2.models.optimize import optimize_for_inference
from centernet2.ops.boxes import clip_boxes
from centernet2.structures import Target

OPTIONS = (
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0001", "MODEL.CENTERNET.INFERENCE_TH", "0.0",
    "MODEL.MASK_ON", "True", "TEST.DETECTIONS_PER_IMAGE", "20",
)  # fmt: skip
ONE_STAGE = (
    "MODEL.META_ARCHITECTURE", "CenterNetDetector", "MODEL.MASK_ON", "False",
    "MODEL.CENTERNET.ONLY_PROPOSAL", "False", "MODEL.CENTERNET.WITH_AGN_HM", "False",
)  # fmt: skip
IMAGES = [
    torch.randint(0, 256, (3, h, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(h))
    for h in (64, 80)
]


def small_detector(*options: str) -> Detector:
    torch.manual_seed(0)
    config = centernet2.load_config("CenterNet2_R18_small", [*OPTIONS, *options])
    return centernet2.build_model(config).eval()


def empty_target(image: Tensor) -> Target:
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, *image.shape[1:], dtype=torch.bool),
    }


def test_detections_come_from_their_proposals() -> None:
    model = small_detector()
    with torch.inference_mode():
        trace = model.run(IMAGES)
    assert model.roi_heads is not None and len(trace.stages) == len(model.roi_heads.stages)
    assert trace.sizes == [(64, 96), (80, 96)] and not trace.losses
    probabilities = model.roi_heads.probabilities(trace.stages, trace.proposals)
    for detections, rows, proposals, p in zip(
        trace.detections, trace.sources, trace.proposals, probabilities, strict=True
    ):
        assert len(detections["boxes"]) == len(rows) > 0
        joined = (proposals.scores[rows] * p[rows, detections["labels"]]).sqrt()
        assert torch.equal(joined, detections["scores"])


def test_detections_of_one_stage_are_proposals() -> None:
    with torch.inference_mode():
        trace = small_detector(*ONE_STAGE).run(IMAGES)
    assert trace.stages == []
    for detections, rows, proposals in zip(
        trace.detections, trace.sources, trace.proposals, strict=True
    ):
        assert torch.equal(detections["scores"], proposals.scores[rows])


def test_masks_are_pasted_only_by_forward() -> None:
    model = small_detector()
    with torch.inference_mode():
        pasted, unpasted = model(IMAGES), model.detect(IMAGES)
        without = model.run(IMAGES, masks=False).detections
    for image, with_masks, in_boxes, none in zip(IMAGES, pasted, unpasted, without, strict=True):
        count = len(with_masks["boxes"])
        assert with_masks["masks"].shape == (count, *image.shape[1:])
        assert in_boxes["box_masks"].shape == (count, 28, 28)
        assert set(none) == {"boxes", "scores", "labels"}
        assert torch.equal(none["scores"], in_boxes["scores"])


def test_predicted_masks_equal_those_of_detections() -> None:
    model = optimize_for_inference(small_detector(), dtype="bf16")
    with torch.inference_mode():
        trace = model.run(IMAGES)
        masks = model.predict_masks(trace.features, trace.detections)
    for own, detections in zip(masks, trace.detections, strict=True):
        assert torch.equal(own, detections["box_masks"])


def test_proposals_are_those_of_the_second_stage() -> None:
    model = small_detector()
    expected = model.run(IMAGES).proposals
    for own, wanted in zip(model.propose(IMAGES), expected, strict=True):
        assert len(own.boxes) > 0 and own.valid.all() and not own.labels.any()
        assert torch.equal(own.boxes, wanted.boxes) and torch.equal(own.scores, wanted.scores)
        assert not own.boxes.requires_grad
    for limit in (3, 10**6):
        more = model.propose(IMAGES, limit=limit)
        for own, wanted in zip(more, expected, strict=True):
            shorter = min(len(own.boxes), len(wanted.boxes))
            assert torch.equal(own.boxes[:shorter], wanted.boxes[:shorter])
        assert [len(own.boxes) > len(e.boxes) for own, e in zip(more, expected, strict=True)] == [
            limit > 3
        ] * 2
    model.use_static_shapes([(96, 96)])
    assert all(own.valid.all() for own in model.propose(IMAGES))


def test_empty_batches() -> None:
    model = small_detector()
    assert model([]) == []
    with pytest.raises(ValueError, match="the batch is empty"):
        model.train()([], [])


@pytest.mark.parametrize(("labels", "message"), [
    ([1, 80], r"targets\[1\] has labels from 1 to 80, but those of 80 classes are 0 to 79"),
    ([-1, 0], "has labels from -1 to 0"),
    ([1], r"has 2 boxes, and labels \[1\]"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels: list[int], message: str) -> None:
    """Labels from 1, as of torchvision's detectors, would be learned as other classes."""
    boxes = torch.tensor([[8.0, 8, 40, 50], [30, 20, 60, 60]])
    target: Target = {"boxes": boxes, "labels": torch.tensor(labels)}
    target["masks"] = torch.ones(2, *IMAGES[1].shape[1:], dtype=torch.bool)
    with pytest.raises(ValueError, match=message):
        small_detector().train()(IMAGES, [empty_target(IMAGES[0]), target])


def test_models_that_propose_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        small_detector().train().propose(IMAGES)
    with pytest.raises(ValueError, match="only a two-stage one proposes"):
        small_detector(*ONE_STAGE).propose(IMAGES)
    with pytest.raises(ValueError, match="limit is 0; give at least 1"):
        small_detector().propose(IMAGES, limit=0)
    with pytest.raises(ValueError, match="no RoI features"):
        small_detector(*ONE_STAGE).embed({}, [])


def test_embeddings_are_what_the_last_stage_classifies() -> None:
    model = small_detector()
    with torch.no_grad():
        trace = model.run(IMAGES)
        before = trace.stages[-2].boxes[:, 0].split([len(p.boxes) for p in trace.proposals])
        boxes = [clip_boxes(own, size) for own, size in zip(before, trace.sizes, strict=True)]
        embeddings = model.embed(trace.features, boxes)
        logits = model.roi_heads.stages[-1].cls_score(torch.cat(embeddings))
    assert [len(each) for each in embeddings] == [len(each) for each in boxes]
    torch.testing.assert_close(logits, trace.stages[-1].logits)
    nothing = model.embed(trace.features, [torch.zeros(0, 4)] * 2)
    assert [each.shape[0] for each in nothing] == [0, 0]


def test_training_keeps_no_detections() -> None:
    trace = small_detector().train().run(IMAGES, [empty_target(image) for image in IMAGES])
    assert trace.head is None and not (trace.stages or trace.detections or trace.sources)
    assert "loss_mask" in trace.losses


def test_batch_without_objects_has_finite_losses() -> None:
    model = small_detector().train()
    losses = model(IMAGES, [empty_target(image) for image in IMAGES])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()


def test_error_for_missing_targets() -> None:
    with pytest.raises(ValueError, match="one target per image"):
        small_detector().train()(IMAGES)


def test_error_for_masks_without_mask_branch() -> None:
    model = small_detector("MODEL.MASK_ON", "False")
    with pytest.raises(ValueError, match="no masks"):
        model.predict_masks({}, [])


def test_error_for_first_stage_without_proposals() -> None:
    config = centernet2.load_config(
        "CenterNet2_R18_small", ["MODEL.CENTERNET.ONLY_PROPOSAL", "False"]
    )
    with pytest.raises(centernet2.ConfigError, match="ONLY_PROPOSAL"):
        centernet2.build_model(config)


@pytest.mark.parametrize(
    "key", ["MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "MODEL.ROI_BOX_HEAD.POOLER_TYPE"]
)
def test_error_names_the_key_of_a_choice(key: str) -> None:
    with pytest.raises(centernet2.ConfigError, match=f"is 'none'; choose one of .*{key}"):
        small_detector(key, "none")
