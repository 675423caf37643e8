"""An option: a key of config files, and the field of Config with its value.

The option group with the field defines its type and default, beside the class that reads it.
Keys and defaults are those of the reference implementation. The meaning of a key that the reference
does not have begins with "ours".
"""

from typing import NamedTuple

from centernet2.ranges import Accepted


class Option(NamedTuple):
    """One key of config files."""

    key: str
    field: str  # dotted path in Config: "schedule.max_iter"
    meaning: str
    accepted: Accepted = Accepted()
    inverted: bool = False  # the key is negated (NOT_NMS), the field is not (nms)


# Keys of the reference that have no meaning here; each stands for its whole subtree.
SKIPPED_KEYS = (
    "CUDNN_BENCHMARK", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST",
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN", "DATASETS.PROPOSAL_FILES_TEST",
    "DATASETS.PROPOSAL_FILES_TRAIN", "DEBUG", "DEBUG_SHOW_NAME", "FLOAT32_PRECISION", "GLOBAL",
    "MODEL.ANCHOR_GENERATOR", "MODEL.KEYPOINT_ON", "MODEL.LOAD_PROPOSALS", "MODEL.PANOPTIC_FPN",
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", "MODEL.RETINANET", "MODEL.ROI_BOX_HEAD.EQL_FREQ_CAT",
    "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", "MODEL.ROI_BOX_HEAD.USE_EQL_LOSS",
    "MODEL.ROI_KEYPOINT_HEAD", "MODEL.RPN", "MODEL.SEM_SEG_HEAD", "SAVE_DEBUG", "SAVE_PTH",
    "SOLVER.REFERENCE_WORLD_SIZE", "TEST.EXPECTED_RESULTS", "TEST.KEYPOINT_OKS_SIGMAS",
    "TEST.PRECISE_BN", "VERSION", "VIS_PERIOD", "VIS_THRESH",
)  # fmt: skip
