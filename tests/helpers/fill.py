"""The weights and pictures behind tests/golden: functions of a name and a shape.

The golden numbers were computed with the reference implementation under exactly these values, so
the constants below are part of the data and must not change.
"""

import math
import zlib

import numpy as np
import numpy.typing as npt


def fill(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """The value of one tensor of a state dict, from the reference's name for it."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    noise = random.standard_normal(shape, dtype=np.float32)
    if kind == "running_mean":
        return 0.05 * noise
    if kind == "running_var":
        return 1.0 + 0.2 * np.abs(noise)
    if kind == "scale":
        return 1.0 + 0.05 * noise
    if kind == "weight" and len(shape) == 1:
        return 0.6 + 0.1 * noise
    if kind == "bias":
        return 0.05 * noise + _bias(name)
    if len(shape) >= 2:
        return _gain(name, kind) / math.sqrt(int(np.prod(shape[1:]))) * noise
    return 0.05 * noise


def _bias(name: str) -> float:
    if "agn_hm" in name or "cls_logits" in name:
        return -2.0
    return 4.0 if "proposal_generator" in name and "bbox_pred" in name else 0.0


def _gain(name: str, kind: str) -> float:
    if "stem.conv1" in name:
        return 0.1
    if "offset" in name:
        return 0.5
    if "agn_hm" in name or "cls_logits" in name:
        return 2.0
    if "cls_score" in name:
        return 1.5
    if "bbox_pred" in name and "proposal_generator" not in name:
        return 0.15
    return 1.0 if ".up_" in name or kind.startswith("up_") else math.sqrt(2.0)


def caffe2(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The value of one blob of the synthetic Caffe2-named ImageNet backbones."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    center = 1.0 if name.endswith("_bn_s") else 0.0
    return (0.1 * random.standard_normal(shape, dtype=np.float32) + center).astype(np.float32)


def picture(
    seed: int, height: int, width: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw colored ellipses on a wavy ground.

    Returns:
        The RGB image [H, W, 3], the boxes [G, 4] xyxy of the ellipses and their classes [G].
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64) + 0.5
    waves = [
        110
        + 50 * np.sin(x / random.uniform(9, 30) + y / random.uniform(9, 30) + random.uniform(0, 6))
        for _ in range(3)
    ]
    image = np.stack(waves, 2)
    boxes, classes = [], []
    for _ in range(7):
        w = np.exp(random.uniform(np.log(14), np.log(0.6 * width)))
        h = np.exp(random.uniform(np.log(14), np.log(0.6 * height)))
        cx, cy = random.uniform(w / 2, width - w / 2), random.uniform(h / 2, height - h / 2)
        inside = ((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2 <= 1
        image[inside] = 0.25 * image[inside] + 0.75 * random.uniform(0, 255, 3)
        boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
        classes.append(int(random.integers(0, 80)))
    return (
        np.clip(np.rint(image), 0, 255).astype(np.uint8),
        np.array(boxes, np.float32),
        np.array(classes, np.int64),
    )
