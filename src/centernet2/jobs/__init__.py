"""Jobs: one file per command, with a function of the same name (`eval` is `evaluate`).

The function is the interface for both: Python calls it, and cyclopts turns its signature and
docstring into options and help. Only the types differ: a Python caller may pass a `Config` or a
`Detector` instead of a name or a path. The annotations below accept both.

These files import heavy packages inside functions only, so that --help is fast.

To add a command, write such a file, and register its function in cli.py with a function that prints
its result. A public function is also a line of __init__.pyi. Options of several commands are below.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

if TYPE_CHECKING:
    from centernet2.config import Config
    from centernet2.models.detector import Detector

    PathArgument: TypeAlias = str | os.PathLike[str]
    ImageArgument: TypeAlias = PathArgument  # of predict, which accepts KEY VALUE pairs there too
    WeightsArgument: TypeAlias = PathArgument
    ConfigArgument: TypeAlias = Config | PathArgument
    ModelArgument: TypeAlias = Detector | PathArgument
else:  # types to which cyclopts converts; zoo:NAME is not a path
    PathArgument = Path
    ImageArgument = WeightsArgument = ConfigArgument = ModelArgument = str

# values may look like options: SOLVER.CLIP_GRADIENTS.CLIP_VALUE -1
Overrides = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="config overrides: KEY VALUE ...")
]
Flag = Annotated[bool, Parameter(negative=())]

_DATA = Parameter(
    help="Folder or annotation file in any layout (COCO, YOLO, Pascal VOC ...), or the name of a "
    "data set, such as coco_2017."
)
Data = Annotated[PathArgument, _DATA]
OptionalData = Annotated[PathArgument | None, _DATA]
DataPath = Annotated[
    PathArgument | None,
    Parameter(
        help="Folder that contains the named data sets: coco2017/ or coco/, lvis/, objects365/, "
        "nuimages/; default: $DETECTRON2_DATASETS, then ./datasets."
    ),
]
Device = Annotated[
    str | None,
    Parameter(
        help="cuda, npu, xpu, mps or cpu; default: MODEL.DEVICE of the config; if this machine "
        "does not have it, the best available device."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class InferenceOptions:
    """Device and number format of inference.

    Parameters
    ----------
    dtype
        Number format of matrix products and convolutions: fp32, bf16 or fp16.
    compile
        Compile the network (torch.compile): slow at the first image of each size, then faster.
    """

    device: Device = None
    dtype: str = "fp32"
    compile: Flag = False


DEFAULT_INFERENCE = InferenceOptions()
