"""Boxes and masks in shares of the image or before a rotation, in place of pixels."""

from typing import Any

import numpy as np
import pytest

from centernet2.data.check.repair import repaired_content
from centernet2.data.findings import Finding
from centernet2.data.readers.coco import ReadRecords
from tests.helpers.data import Content, read_content

SHARES = "shares of the image in place of pixels"
SHARE_MASKS = "masks in shares of the image in place of pixels"


def in_shares(content: Content, *rows: int, corners: bool = False) -> Content:
    """Divide boxes and their polygons by the sides of their images."""
    sizes = {each["id"]: (each["width"], each["height"]) for each in content["images"]}
    for row in rows or range(len(content["annotations"])):
        record = content["annotations"][row]
        x, y, w, h = record["bbox"]
        record["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        box = [x, y, x + w, y + h] if corners else [x, y, w, h]
        limits = sizes[record["image_id"]] * 4
        record["bbox"] = [a / b for a, b in zip(box, limits[:4], strict=True)]
        record["segmentation"] = [
            [a / b for a, b in zip(record["segmentation"][0], limits, strict=True)]
        ]
    return content


def refusals(records: ReadRecords) -> dict[str, Finding]:
    found = (*records.dataset.findings, *records.mask_findings)
    return {each.kind: each for each in found if each.action == "refuses"}


def test_boxes_and_masks_in_shares_are_refused(content: Content) -> None:
    found = refusals(read_content(in_shares(content), masks=True))
    assert {kind: each.total for kind, each in found.items()} == {SHARES: 4, SHARE_MASKS: 4}
    assert found[SHARES].examples[0].text.startswith("annotation 1 in wide.png has bbox [0.06")
    assert "multiply x and width by the width" in found[SHARES].advice


@pytest.mark.parametrize("corners", [False, True])
def test_shares_are_scaled_in_a_repaired_copy(content: Content, corners: bool) -> None:
    right = [each["bbox"] for each in content["annotations"]]
    areas = [each["area"] for each in content["annotations"]]
    content["annotations"][0]["area"] /= 64 * 48
    given = in_shares(content, corners=corners)
    copy = repaired_content(given, read_content(given, masks=True))
    for record, box, area in zip(copy["annotations"], right, areas, strict=True):
        np.testing.assert_allclose(record["bbox"], box, atol=1e-9)
        assert record["area"] == pytest.approx(area)
        x, y, w, _ = box
        np.testing.assert_allclose(record["segmentation"][0][:4], [x, y, x + w, y], atol=1e-3)


def test_tiny_boxes_among_others_are_pixels(content: Content) -> None:
    for record in content["annotations"]:
        record["segmentation"] = [[4, 6, 24, 6, 24, 16, 4, 16]]
    assert refusals(read_content(in_shares(content, 0), masks=True)) == {}


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 0.0, 0.5]])
def test_whole_numbers_are_pixels(content: Content, box: list[float]) -> None:
    for record in content["annotations"]:
        record["bbox"] = box
    assert refusals(read_content(content)) == {}


def test_the_only_box_in_shares_is_refused(content: Content) -> None:
    del content["annotations"][1:]
    assert list(refusals(read_content(in_shares(content)))) == [SHARES]


def test_boxes_that_are_stated_in_another_form_are_refused(content: Content) -> None:
    content["annotations"][0]["bbox_mode"] = 1
    assert refusals(read_content(content)) == {}
    content["annotations"][1]["bbox_mode"] = 0
    assert list(refusals(read_content(content))) == ["boxes whose bbox_mode is not 1 (XYWH_ABS)"]


def rotated(content: Content, value: Any, **others: Any) -> ReadRecords:
    content["annotations"][0] |= {"attributes": {"occluded": False, "rotation": value}, **others}
    return read_content(content)


@pytest.mark.parametrize("value", [90.0, -90, "450"])
def test_rotated_boxes_of_cvat_are_enclosed(content: Content, value: Any) -> None:
    records = rotated(content, value)
    np.testing.assert_allclose(records.dataset.xywh[1], [9, 1, 10, 20], atol=1e-9)
    (finding,) = records.dataset.findings
    assert (finding.kind, finding.total) == ("boxes that are rotated by an attribute", 1)
    assert finding.action == "repairs" and records.dataset.areas[1] == 150


@pytest.mark.parametrize("value", [0, 0.0, 180, None, "left", [90], True])
def test_other_rotations_change_nothing(content: Content, value: Any) -> None:
    records = rotated(content, value)
    assert records.dataset.xywh[1].tolist() == [4, 6, 20, 10] and not records.dataset.findings


def test_rotation_of_an_object_with_a_mask_is_not_that_of_its_box(content: Content) -> None:
    records = rotated(content, 90.0, segmentation=[[4, 6, 24, 6, 24, 16, 4, 16]])
    assert records.dataset.xywh[1].tolist() == [4, 6, 20, 10]


PAIRS = [[4, 6], [24, 6], [24, 16], [4, 16]]


@pytest.mark.parametrize("segmentation", [[PAIRS], PAIRS, [[[4.0, 6], *PAIRS[1:]]]])
def test_polygons_of_points_are_read(content: Content, segmentation: Any) -> None:
    content["annotations"][0]["segmentation"] = segmentation
    records = read_content(content, masks=True)
    assert records.dataset.segmentation(1) == [[4, 6, 24, 6, 24, 16, 4, 16]]
    counted = {each.kind: each.total for each in records.mask_findings if each.action == "repairs"}
    assert counted == {"polygons with a list [x, y] for each point": 1}


@pytest.mark.parametrize(
    "segmentation", [[[PAIRS]], [{"x": 4, "y": 6}, {"x": 24, "y": 6}, {"x": 24, "y": 16}]]
)
def test_points_of_other_forms_are_refused(content: Content, segmentation: Any) -> None:
    content["annotations"][0]["segmentation"] = segmentation
    (finding,) = refusals(read_content(content, masks=True)).values()
    assert "polygon whose points are neither numbers nor lists [x, y]" in finding.examples[0].text


@pytest.mark.parametrize("box", [[4, 6, -20, 10], None])
def test_rotation_needs_a_box(content: Content, box: Any) -> None:
    found = rotated(content, 30, bbox=box).dataset.findings
    assert all("rotated" not in each.kind for each in found)


@pytest.mark.parametrize(("count", "action"), [(2, "drops"), (3, "refuses")])
def test_boxes_of_larger_images_are_refused(content: Content, count: int, action: str) -> None:
    for record in content["annotations"][:count]:
        record["bbox"] = [100 + record["bbox"][0], *record["bbox"][1:]]
    found = {each.kind: each for each in read_content(content).dataset.findings}
    outside = found["boxes completely outside their image"]
    assert (outside.total, outside.action) == (count, action)
    assert ("images of another size" in outside.advice) == (action == "refuses")
