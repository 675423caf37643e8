"""Explanations equal what the model computes, and every rule that ends a way is named."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from centernet2.models.detector import Detector
from centernet2.models.explain import explain, proposal_paths
from centernet2.models.explain.explanation import ClassStep, LocationStep
from centernet2.models.explain.locations import LocationReader
from centernet2.models.explain.proposal_paths import PathReader, one_stage_path
from centernet2.models.explain.trace_reader import TraceReader
from centernet2.models.explain.traced_image import TracedImage, traced_image
from tests.helpers.networks import build

IMAGE = torch.randint(
    0, 256, (3, 70, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
KINDS = ("two-stage", "masks", "one-stage", "deformable")


def lively(kind: str) -> Detector:
    """Return a detector in evaluation mode whose outputs differ from place to place."""
    return deepcopy(_lively(kind))


@cache
def _lively(kind: str) -> Detector:
    model = build(kind).eval()
    head = model.proposal_generator.head
    generator = torch.Generator().manual_seed(1)
    for name, parameter in head.named_parameters():
        if name.startswith(("agn_hm.w", "cls_logits.w", "bbox_pred.w")):
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    for stage in model.roi_heads.stages if model.roi_heads else ():
        torch.nn.init.normal_(stage.cls_score.weight, std=0.3, generator=generator)
        torch.nn.init.normal_(stage.bbox_pred.weight, std=0.05, generator=generator)
    return model


def traced(model: Detector, image: Tensor = IMAGE) -> TracedImage:
    return traced_image(model, model.run([image], masks=False))


def read(model: Detector, image: Tensor = IMAGE) -> TraceReader:
    with torch.no_grad():
        return TraceReader(traced(model, image), (1.0, 1.0))


@torch.no_grad()
def all_locations(trace: TraceReader) -> list[LocationStep]:
    """Explain every location of every level."""
    reader = LocationReader(trace)
    steps = []
    for level, stride in enumerate(trace.decoder.strides):
        height, width = trace.head.ltrb[level].shape[2:]
        places = [(x, y) for y in range(height) for x in range(width)]
        half = stride // 2
        steps += [reader.location(level, x * stride + half, y * stride + half) for x, y in places]
    return steps


@torch.no_grad()
def all_classes(trace: TraceReader) -> dict[tuple[int, int], ClassStep]:
    """Explain every proposal as every class."""
    rows = range(len(trace.proposals.boxes))
    if trace.selection is None:
        paths = [one_stage_path(trace, row) for row in rows]
    else:
        reader = PathReader(trace, trace.selection)
        paths = [reader.path(row) for row in rows]
    return {(path.row, step.label): step for path in paths for step in path.classes}


def rules(steps: list[LocationStep] | dict[tuple[int, int], ClassStep]) -> set[str | None]:
    values = steps.values() if isinstance(steps, dict) else steps
    return {step.cut.rule if step.cut else None for step in values}


@pytest.mark.parametrize("kind", KINDS)
def test_locations_without_a_cut_are_the_proposals(kind: str) -> None:
    trace = read(lively(kind))
    steps = all_locations(trace)
    kept = {step.proposal: step for step in steps if step.cut is None}
    if trace.head.class_logits is None:  # else a location is the best of its classes
        assert sorted(kept) == list(range(len(trace.proposals.boxes)))
        assert len(kept) == sum(step.cut is None for step in steps)
    assert len(kept) > 3
    for row, step in kept.items():
        assert step.box == tuple(trace.proposals.boxes[row].tolist())
        assert step.score == float(trace.proposals.scores[row])
        assert step.label == int(trace.proposals.labels[row])
    best = min(steps, key=lambda step: step.rank)
    assert best.rank == 1 and best.score == max(step.score for step in steps)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_without_a_cut_are_the_detections(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_paths, "TOP_CLASSES", 1000)
    trace = read(lively(kind))
    steps = all_classes(trace)
    kept = {step.detection: step for step in steps.values() if step.cut is None}
    found = trace.detections
    assert sorted(kept) == list(range(len(found["boxes"]))) and len(kept) > 3
    for row, step in kept.items():
        assert step.box == tuple(found["boxes"][row].tolist())
        assert step.score == float(found["scores"][row]) and step.label == int(found["labels"][row])


def test_stages_are_those_of_the_cascade() -> None:
    model = lively("two-stage")
    trace = read(model)
    assert trace.selection is not None and len(trace.stages) == 3
    with torch.no_grad():
        path = PathReader(trace, trace.selection).path(2)
        outputs = model.run([IMAGE]).stages
    for k, (step, output) in enumerate(zip(path.stages, outputs, strict=True)):
        assert step.probabilities == tuple(output.logits[2].softmax(0).tolist())
        before = trace.proposals.boxes[2] if k == 0 else torch.tensor(path.stages[k - 1].box)
        assert step.roi == tuple(before.tolist())
    best = path.classes[0]
    mean = torch.tensor([step.probabilities[best.label] for step in path.stages]).mean()
    assert best.probability == pytest.approx(float(mean), abs=1e-6)
    assert best.box == path.stages[-1].box
    assert best.score == pytest.approx((best.probability * path.score) ** 0.5, abs=1e-6)


def check_rivals(steps: list[LocationStep] | list[ClassStep]) -> None:
    for step in steps:
        assert step.cut is not None and step.cut.by is not None
        iou = box_iou(torch.tensor([step.box]), torch.tensor([step.cut.by.box]))
        assert step.cut.value == pytest.approx(float(iou), abs=1e-5)
        assert step.cut.value > step.cut.limit and step.cut.by.score >= step.score


def test_rivals_of_proposals_have_the_stated_iou() -> None:
    trace = read(with_decoder(nms_threshold=0.3, post_nms_topk=5)())
    steps = [step for step in all_locations(trace) if step.cut and step.cut.rule == "NMS"]
    assert len(steps) > 5 and {step.cut.by.row is None for step in steps} == {True, False}
    check_rivals(steps)
    for step in steps:
        if step.cut.by.row is not None:
            assert step.proposal == step.cut.by.row
            assert step.cut.by.box == tuple(trace.proposals.boxes[step.proposal].tolist())


def test_rivals_of_detections_have_the_stated_iou() -> None:
    trace = read(with_selection(nms_threshold=0.3)())
    steps = [each for each in all_classes(trace).values() if each.cut and each.cut.rule == "NMS"]
    assert len(steps) > 5
    check_rivals(steps)
    for step in steps:
        if step.cut.by.row is not None:
            assert int(trace.detections["labels"][step.cut.by.row]) == step.label


def with_decoder(**changes: object) -> Callable[[], Detector]:
    def make() -> Detector:
        model = lively("two-stage")
        decoder = model.proposal_generator.decoder
        limits = {k: v for k, v in changes.items() if hasattr(decoder.options.inference, k)}
        others = {k: v for k, v in changes.items() if k not in limits}
        inference = replace(decoder.options.inference, **limits)
        decoder.options = replace(decoder.options, inference=inference, **others)
        return model

    return make


@pytest.mark.parametrize(("make", "rule"), [
    (with_decoder(score_threshold=0.1), "score threshold"),
    (with_decoder(center_nms=True), "local maximum"),
    (with_decoder(pre_nms_topk=4), "candidates per level"),
    (with_decoder(post_nms_topk=3), "proposals per image"),
    (with_decoder(nms_threshold=0.3), "NMS"),
])  # fmt: skip
def test_every_rule_of_the_first_stage_is_named(make: Callable[[], Detector], rule: str) -> None:
    trace = read(make())
    steps = all_locations(trace)
    ended = [step for step in steps if step.cut and step.cut.rule == rule]
    assert ended and {None, rule} <= rules(steps)
    assert sum(step.cut is None for step in steps) == len(trace.proposals.boxes)
    for step in ended:
        if rule in ("score threshold", "local maximum"):
            assert step.cut.value == step.heat <= step.cut.limit
        else:
            assert step.cut.value > step.cut.limit


def test_rank_of_a_location_that_ties_with_candidates_is_behind_them() -> None:
    model = with_decoder(pre_nms_topk=4)()
    torch.nn.init.zeros_(model.proposal_generator.head.agn_hm.weight)  # all scores are equal
    trace = read(model)
    ended = [step.cut for step in all_locations(trace) if step.cut]
    ranks = [cut for cut in ended if cut.rule == "candidates per level"]
    assert ranks and all(cut.value > cut.limit == 4 for cut in ranks)


def with_selection(*, static: bool = False, **changes: object) -> Callable[[], Detector]:
    def make() -> Detector:
        model = lively("two-stage")
        selection = model.roi_heads.selection
        selection.options = replace(selection.options, **changes)
        selection.static_shapes = static
        return model

    return make


@pytest.mark.parametrize(("make", "rule"), [
    (with_selection(score_threshold=0.1), "score threshold"),
    (with_selection(detections_per_image=2), "detections per image"),
    (with_selection(nms_threshold=0.2), "NMS"),
    (with_selection(detections_per_image=1, static=True), "candidates for detections"),
])  # fmt: skip
def test_every_rule_of_the_second_stage_is_named(
    make: Callable[[], Detector], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal_paths, "TOP_CLASSES", 1000)
    trace = read(make())
    steps = all_classes(trace)
    ended = [step for step in steps.values() if step.cut and step.cut.rule == rule]
    assert ended and {None, rule} <= rules(steps)
    assert sum(step.cut is None for step in steps.values()) == len(trace.detections["boxes"])
    for step in ended:
        if rule == "score threshold":
            assert step.cut.value == step.score <= step.cut.limit
        else:
            assert step.cut.value > step.cut.limit


@pytest.mark.parametrize("kind", ["one-stage", "two-stage"])
def test_box_in_the_padding_is_named(kind: str) -> None:
    model = lively(kind)
    torch.nn.init.zeros_(model.proposal_generator.head.bbox_pred.weight)
    torch.nn.init.constant_(model.proposal_generator.head.bbox_pred.bias, 0.05)
    for stage in model.roi_heads.stages if model.roi_heads else ():
        torch.nn.init.zeros_(stage.bbox_pred.weight)
    decoder = model.proposal_generator.decoder
    limits = replace(decoder.options.inference, post_nms_topk=1000)
    decoder.options = replace(decoder.options, inference=limits)
    trace = read(model)
    steps = all_classes(trace)
    assert {None, "box inside the image"} <= rules(steps)
    inside = trace.proposals.boxes[:, 0] < 100
    inside &= trace.proposals.boxes[:, 1] < 70
    for (row, _), step in steps.items():
        if step.cut and step.cut.rule == "box inside the image":
            assert not inside[row]


def test_explanation_at_a_point_is_in_pixels_of_the_image() -> None:
    model = lively("two-stage")
    trace = read(model)
    (best, *_) = sorted(all_locations(trace), key=lambda step: step.rank)
    x, y = best.point
    scaled = explain(traced(model), 2 * x, 3 * y, scale=(2.0, 3.0))
    assert scaled.point == (2 * x, 3 * y) and scaled.location.rank == 1
    assert scaled.location.point == (2 * x, 3 * y)
    expected = torch.tensor(best.box) * torch.tensor([2.0, 3, 2, 3])
    assert scaled.location.box == pytest.approx(expected.tolist())
    assert scaled.proposals[0].row == best.proposal == 0
    assert len(scaled.detections) == len(trace.detections["boxes"])
    covering = {path.row for path in scaled.proposals[1:]}
    for row, box in zip(trace.sources.tolist(), trace.detections["boxes"].tolist(), strict=True):
        if box[0] <= x <= box[2] and box[1] <= y <= box[3]:
            assert row in covering | {0}


def test_static_shapes_give_the_same_explanation() -> None:
    model = lively("two-stage")
    expected = explain(traced(model), 40, 30)
    model.use_static_shapes([(96, 128)])
    padded = explain(traced(model), 40, 30)
    assert padded.location.cut == expected.location.cut
    assert padded.location.score == pytest.approx(expected.location.score, abs=1e-5)
    assert [path.row for path in padded.proposals] == [path.row for path in expected.proposals]


def test_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="one target per image"):
        explain(traced(lively("two-stage").train()), 1, 1)
