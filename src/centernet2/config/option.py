"""What an option is: its name here, its type, its default and the key by which configuration files know it.

A group holds what one constructor takes, so `Constructor(**vars(group))` is the way from settings to objects. Keys and
defaults are those of the reference implementation; the few that it does not know are marked "ours".
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Floats = tuple[float, ...]
Ints = tuple[int, ...]
Names = tuple[str, ...]


def option(key: str, default: Any, description: str, *, at_least: float | None = None) -> Any:
    """One option, known to configuration files as `key`; a value below `at_least` is refused."""
    return Field(default, description=description, ge=at_least, json_schema_extra={"key": key})


class Group(BaseModel):
    """Options that belong together: frozen, and strict about types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# Keys of a full reference configuration that mean nothing here: a whole subtree each.
SKIPPED_KEYS = (
    "CUDNN_BENCHMARK", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN",
    "DATASETS.PROPOSAL_FILES_TEST", "DATASETS.PROPOSAL_FILES_TRAIN", "DEBUG", "DEBUG_SHOW_NAME", "FLOAT32_PRECISION",
    "GLOBAL",
    "MODEL.ANCHOR_GENERATOR", "MODEL.KEYPOINT_ON", "MODEL.LOAD_PROPOSALS", "MODEL.PANOPTIC_FPN",
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE", "MODEL.RETINANET", "MODEL.ROI_BOX_HEAD.EQL_FREQ_CAT",
    "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER", "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", "MODEL.ROI_BOX_HEAD.USE_EQL_LOSS", "MODEL.ROI_KEYPOINT_HEAD", "MODEL.RPN",
    "MODEL.SEM_SEG_HEAD", "SAVE_DEBUG", "SAVE_PTH", "SOLVER.REFERENCE_WORLD_SIZE", "TEST.EXPECTED_RESULTS",
    "TEST.KEYPOINT_OKS_SIGMAS", "TEST.PRECISE_BN", "VERSION", "VIS_PERIOD", "VIS_THRESH",
)  # fmt: skip
