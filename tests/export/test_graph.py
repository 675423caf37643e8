"""The graph of a detector, run by PyTorch, gives the detections of the detector."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from centernet2.export.certificate import call_detector, drawn_images
from centernet2.export.graph import RECORDED, DetectionGraph, GraphOptions
from centernet2.export.program import exportable
from centernet2.models.detector import Detector
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import split_images
from centernet2.structures import TestSize
from tests.helpers.exported import build_two_levels
from tests.helpers.networks import build

KINDS = ["two-stage", "masks", "one-stage"]


def batch() -> Tensor:
    image = drawn_images()[0]
    return torch.stack([image, image.flip(2)])


@torch.no_grad()
def run(detector: Detector, images: Tensor, **options: bool) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = DetectionGraph(exportable(detector), GraphOptions(**options))(
        images
    )
    return outputs


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_detections_are_those_of_the_detector(kind: str, lists: bool) -> None:
    detector, images = build(kind).eval(), batch()[:, :, :96, :128]
    detector.info = replace(detector.info, test_size=TestSize("shortest_edge", 80, 120))
    call = call_detector(detector, images)
    outputs = {name: x.numpy() for name, x in run(detector, images, lists=lists).items()}
    for own, wanted in zip(split_images(outputs, 2), call.detections, strict=True):
        assert len(own["boxes"]) == len(wanted["boxes"]) > 0
        assert compare_detections(own, wanted).share == 1
        assert ("masks" in own) == (kind == "masks")


def test_probabilities_join_to_the_score() -> None:
    outputs = run(build_two_levels(), batch())
    assert (outputs["count"] > 0).all()
    joined = (outputs["object_scores"] * outputs["class_scores"]).sqrt()
    torch.testing.assert_close(joined, outputs["scores"])


def test_padding_is_zero() -> None:
    outputs = run(build_two_levels("MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.05"), batch())
    rows = outputs["scores"].shape[1]
    assert (outputs["count"] < rows).all()
    for scores, boxes, count in zip(
        outputs["scores"], outputs["boxes"], outputs["count"], strict=True
    ):
        assert (scores[:count] > 0).all() and not scores[count:].any() and not boxes[count:].any()


def test_recorded_stages_lead_to_the_detections() -> None:
    outputs = run(build_two_levels(), batch(), record=True)
    recorded = {name for name in outputs if name.startswith(RECORDED)}
    assert recorded == {
        "level0_object_logits", "level0_ltrb", "level1_object_logits", "level1_ltrb",
        "proposal_boxes", "proposal_scores", "proposal_labels", "proposal_count", "proposal_rows",
        "stage0_boxes", "stage0_probabilities", "stage1_boxes", "stage1_probabilities",
    }  # fmt: skip
    best = outputs["object_scores"][:, 0]
    assert all((outputs["proposal_scores"] == best[:, None]).any(dim=1))
