"""Jobs: one file per command, with a function of its name (`eval`: `evaluate`).

The function is the interface for both: Python calls it, and cyclopts turns its signature and
docstring into options and help. Only the types differ: a Python caller may pass a `Config` or a
`Detector` instead of a name or a path. The annotations below accept both.

These files import heavy packages inside functions only, so that --help is fast.

To add a command, write such a file, and a row of commands.py with a function of printing.py that
prints its result. A public function is also a line of __init__.pyi. Options of
several commands are below.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from centernet2.option_groups import DATA, DEVICE
from centernet2.option_groups import Flag as Flag
from centernet2.usage import KEY

if TYPE_CHECKING:
    from centernet2.config import Config
    from centernet2.models.detector import Detector
    from centernet2.predict.predictor import Predictor

    PathArgument: TypeAlias = str | os.PathLike[str]
    ImageArgument: TypeAlias = PathArgument  # of predict, which accepts KEY VALUE pairs there too
    WeightsArgument: TypeAlias = PathArgument
    ConfigArgument: TypeAlias = Config | PathArgument
    ModelArgument: TypeAlias = Detector | Predictor | PathArgument
    OverrideArgument: TypeAlias = Any  # keys, values, and dictionaries of both
    ClassMapArgument: TypeAlias = Mapping[str, str] | Sequence[str] | PathArgument
else:  # types to which cyclopts converts
    PathArgument = Path
    # a text, since zoo:NAME and addresses are no paths; shells complete it as a path
    TextOrPath = str | Path
    ImageArgument = WeightsArgument = ConfigArgument = ModelArgument = TextOrPath
    OverrideArgument = TextOrPath
    ClassMapArgument = list[str]

# values may look like options: SOLVER.CLIP_GRADIENTS.CLIP_VALUE -1
OverridePairs = Annotated[
    OverrideArgument, Parameter(allow_leading_hyphen=True, help="Config overrides: KEY VALUE ...")
]
WEIGHTS_SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")

_DATA_ARGUMENT = Parameter(
    help="Folder of a data set in COCO, YOLO or Pascal VOC format, an annotation file (.json), a "
    "data.yaml, or the name of a data set, such as coco_2017."
)
Data = Annotated[PathArgument, _DATA_ARGUMENT]
OptionalData = Annotated[PathArgument | None, _DATA_ARGUMENT, Parameter(group=DATA)]
DataPath = Annotated[
    PathArgument | None,
    Parameter(
        group=DATA,
        help="Folder that contains the named data sets: coco2017/ or coco/, lvis/, objects365/, "
        "nuimages/; default: $DETECTRON2_DATASETS, then ./datasets.",
    ),
]
ClassMap = Annotated[
    ClassMapArgument | None,
    Parameter(
        name="--class-map",
        group=DATA,
        negative=(),
        help="Rename classes of the data: old=new, several with commas or by repeating the option, "
        "or a file with a dictionary (JSON, YAML) or lines old=new. Classes that get one name are "
        "merged. Default: DATASETS.CLASS_MAP of the config.",
    ),
]
Device = Annotated[
    str | None,
    Parameter(
        group=DEVICE,
        help="cuda, npu, xpu, mps or cpu; default: MODEL.DEVICE of the config; if this machine "
        "does not have it, the best available device.",
    ),
]
ProvidersArgument = Annotated[
    tuple[str, ...], Parameter(consume_multiple=1, group=DEVICE, negative=())
]


@Parameter(name="*", group=DEVICE)
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


def split_data(
    words: Sequence[Any], data: PathArgument | None, *, command: str
) -> tuple[PathArgument | None, Sequence[Any]]:
    """Split a data set without --data from the overrides after it.

    Args:
        words: overrides; the first may be a data set.
        data: the data set that --data names.
        command: for the message.

    Returns:
        The data set, from either place, and the overrides.
    """
    first = words[0] if words else None
    if not isinstance(first, str | os.PathLike) or not _is_data(os.fspath(first), len(words)):
        return data, words
    _refuse_other_files(Path(first), command)
    if "=" in str(first) and not os.path.exists(first):
        raise ValueError(
            f"'{first}' is no data set and no KEY VALUE pair; several pairs of --class-map are "
            "separated by commas, or --class-map is repeated"
        )
    if data is not None:
        raise ValueError(f"the data are given twice: '{first}' and --data {data}; give one of them")
    return first, words[1:]


def _is_data(word: str, count: int) -> bool:
    """Whether the first of `count` words is a data set, not the KEY of an override."""
    from centernet2.config.tree import SLOTS

    if word in SLOTS:
        return False
    if os.path.exists(word) or os.sep in word:
        return True
    # A misspelled key has a dot or capital letters, and a value.
    return "." not in word and not KEY.fullmatch(word) and not (word.isupper() and count % 2 == 0)


def _refuse_other_files(path: Path, command: str) -> None:
    """Raise ValueError for a first word that another option takes."""
    from centernet2.config import config_names

    if path.suffix in WEIGHTS_SUFFIXES:
        raise ValueError(
            f"{path} is a weights file: `centernet2 {command}` takes it as --weights {path}"
        )
    if not path.exists() and path.name in config_names():
        raise ValueError(
            f"{path} is a config: `centernet2 {command}` takes it as --config-file {path}"
        )
