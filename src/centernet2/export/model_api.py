"""The form of files that OpenVINO's Model API opens without this package.

Its wrappers take images of one fixed size, one at a time, and know the outputs by their shapes. The
keys below are those of `rt_info/model_info` (github.com/open-edge-platform/model_api).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from centernet2.models.detector import Detector

WRAPPERS = {False: "SSD", True: "MaskRCNN"}  # by whether there are masks
KEPT = ("labels", "masks")
BACKGROUND = "background"  # the wrapper for masks counts classes from 1


def for_model_api(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join boxes and scores to `boxes` [N, D, 5]; padding has the score 0."""
    boxes = torch.cat([rows["boxes"], rows["scores"][..., None]], dim=2)
    return {"boxes": boxes, **{name: rows[name] for name in KEPT if name in rows}}


def model_info(detector: Detector) -> dict[str, str]:
    """Return the keys by which Model API prepares images and names classes."""
    names = detector.info.class_names or [str(label) for label in range(detector.num_classes)]
    labels = ["_".join(name.split()) for name in names]  # a list is separated by spaces
    thresholds = detector.info.score_thresholds
    return {
        "model_type": WRAPPERS[detector.predicts_masks],
        "labels": " ".join([BACKGROUND, *labels] if detector.predicts_masks else labels),
        "resize_type": "fit_to_window",  # keeps the shape of objects, and pads below and right
        "pad_value": str(round(float(detector.preprocess.mean.mean()))),
        "reverse_input_channels": "True",  # it takes images as OpenCV reads them: BGR
        **({"confidence_threshold": str(min(thresholds))} if thresholds else {}),
    }
