"""A small detector for export: two levels, two stages of the cascade, few boxes."""

from dataclasses import replace

import torch

import centernet2
from centernet2.models.inspect import inspect
from centernet2.structures import Pixels, ScoreCalibration
from tests.helpers.jobs import build_untrained

TWO_LEVELS = [
    "MODEL.CENTERNET.IN_FEATURES", "('p3', 'p4')", "MODEL.CENTERNET.FPN_STRIDES", "(8, 16)",
    "MODEL.CENTERNET.SOI", "((0, 64), (48, 100000))",
    "MODEL.ROI_HEADS.IN_FEATURES", "('p3', 'p4')",
    "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", "(0.6, 0.7)",
    "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", "((10, 10, 5, 5), (20, 20, 10, 10))",
    "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
]  # fmt: skip


def build_two_levels(*overrides: str) -> centernet2.Detector:
    """Build the detector in evaluation mode, with seeded weights."""
    return build_untrained(*TWO_LEVELS, *overrides).eval()


def with_unknown_objects(
    model: centernet2.Detector, calibration: ScoreCalibration, image: Pixels
) -> centernet2.Detector:
    """Calibrate a detector of cats and dogs so that half of the objects of an image are unknown."""
    (found,) = inspect(model, [torch.from_numpy(image).permute(2, 0, 1)], unknown=True)
    assert found.unknown is not None and model.roi_heads is not None
    novelty = float(found.unknown.novelty.median())
    calibration = replace(calibration, unknown_from=(novelty, 0.0))
    model.roi_heads.selection.calibration = calibration
    model.info = replace(model.info, class_names=("cat", "dog"), calibration=calibration)
    return model
