"""A small detector for export: two levels, two stages of the cascade, few boxes."""

import centernet2
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
