"""Detectors with half-precision inner parts."""

import pytest
import torch
from torch import nn

from centernet2.export.certificate import drawn_images
from centernet2.export.graph import DetectionGraph
from centernet2.export.half import halve
from centernet2.export.precision import PRECISIONS
from centernet2.export.program import exportable
from centernet2.layers import DeformConv2d
from centernet2.runtime.agreement import compare_detections
from centernet2.runtime.exported_model import split_images
from tests.helpers.exported import build_two_levels


@torch.inference_mode()
def test_detections_stay_within_the_tolerance() -> None:
    detector = build_two_levels("MODEL.MASK_ON", "True")
    images = drawn_images()[0][None, :, :96, :128]
    whole, half = (
        {name: column.numpy() for name, column in DetectionGraph(each)(images).items()}
        for each in (exportable(detector), halve(exportable(detector)))
    )
    assert all(half[name].dtype == column.dtype for name, column in whole.items())
    (wanted,), (found,) = split_images(whole, 1), split_images(half, 1)
    tolerance, share = PRECISIONS["fp16"]
    assert len(wanted["boxes"]) and compare_detections(found, wanted, tolerance).share >= share
    assert abs(found["scores"] - wanted["scores"]).max() > 0  # it did round


@pytest.mark.parametrize("overrides", [(), ("MODEL.CENTERNET.USE_DEFORMABLE", "True")])
def test_last_layers_and_sampling_positions_stay_in_float32(overrides: tuple[str, ...]) -> None:
    detector = halve(exportable(build_two_levels("MODEL.MASK_ON", "True", *overrides)))
    last = ("bbox_pred", "agn_hm", "cls_score", "head.predictor", "scales")
    sampled = [name for name, each in detector.named_modules() if isinstance(each, DeformConv2d)]
    assert bool(sampled) == bool(overrides)
    for name, parameter in detector.named_parameters():
        is_whole = any(part in name for part in last) or name.startswith(tuple(sampled or "-"))
        assert parameter.dtype == (torch.float32 if is_whole else torch.float16), name


def test_a_one_stage_detector_is_halved() -> None:
    detector = halve(exportable(build_two_levels("MODEL.META_ARCHITECTURE", "CenterNetDetector")))
    assert next(detector.backbone.parameters()).dtype == torch.float16
    assert isinstance(detector.proposal_generator.head.bbox_pred, nn.Conv2d)
    assert detector.proposal_generator.head.bbox_pred.weight.dtype == torch.float32
