"""One file per command: the command, its file and its Python function carry one name.

The signature of that function is the whole interface of a command: Python calls it, and cyclopts
makes options and help of it. The two differ in types alone: a Python caller may pass a `Config` or
a `Detector` where a command line has a name or a path. The annotations below accept both.

These files import nothing heavy at their top, so that help comes at once.
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
    ImageArgument: TypeAlias = PathArgument  # of predict, where KEY VALUE pairs follow
    WeightsArgument: TypeAlias = PathArgument
    ConfigArgument: TypeAlias = Config | PathArgument
    ModelArgument: TypeAlias = Detector | PathArgument
else:  # what cyclopts makes of a word; zoo:NAME is no path
    PathArgument = Path
    ImageArgument = WeightsArgument = ConfigArgument = ModelArgument = str

# values may look like options: SOLVER.CLIP_GRADIENTS.CLIP_VALUE -1
Overrides = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="config overrides: KEY VALUE ...")
]
Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class InferenceOptions:
    """Where and how a model that is loaded from a file runs.

    Parameters
    ----------
    device
        cuda, npu, xpu, mps or cpu; default: the best one available.
    dtype
        Format of matrix products and convolutions: fp32, bf16 or fp16.
    compile
        Compile the network (torch.compile): slow at the first image of a size, then faster.
    """

    device: str | None = None
    dtype: str = "fp32"
    compile: Flag = False


DEFAULT_INFERENCE = InferenceOptions()
