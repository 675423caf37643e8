"""Messages about a command line that cannot be used.

Words are examined before the argument parser sees them: it would take a misspelled option for the
KEY of an override. Options of other packages get a sentence that says what to write here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnusedCliTokensError,
)

from centernet2.spelling import did_you_mean

GENERAL_OPTIONS = frozenset({"--help", "-h", "--version"})
OPTION_WORD = re.compile(r"--?[A-Za-z][\w-]*")
ASSIGNMENT = re.compile(r"(?:--)?([A-Za-z][\w.-]*)=(.*)", re.DOTALL)
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+")  # of an option, such as TEST.AUG.ENABLED
FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*")
NUMBERS = frozenset({"inf", "nan", "infinity"})  # after a hyphen, the value of an override
TypesOfOptions = Callable[[str], Mapping[str, Any]]

COMMANDS_WITH_KEYS = (
    "benchmark", "config", "eval", "explain", "export", "next", "predict", "pseudo-label", "serve",
    "show", "train",
)  # fmt: skip
AT_END = "at the end of the command"


class Replacement(NamedTuple):
    """What is written here in place of an option of other packages."""

    words: tuple[str, ...]  # the names there, with underscores
    text: str  # for messages
    option: str = ""  # argument here, with underscores
    key: str = ""  # option of a config here
    value: bool | float | str | tuple[int, ...] = ""  # example for the key
    commands: tuple[str, ...] = ()  # for which it is; none: for all

    def is_for(self, command: str) -> bool:
        """Whether a command takes it."""
        takes_key = not self.key or command in COMMANDS_WITH_KEYS
        return takes_key and (not self.commands or command in self.commands)


def _key(
    words: tuple[str, ...],
    key: str,
    value: bool | float | str,
    note: str = "",
    *,
    commands: tuple[str, ...] = (),
) -> Replacement:
    text = f"write {key} {value}{note} {AT_END}"
    return Replacement(words, text, key=key, value=value, commands=commands)


_AMP = ("amp", "half")
_BATCH = ("batch", "batch_size")
_SIZE = ("image_size", "img", "img_size", "imgsz")
_WORKERS = ("num_workers", "workers")
_TRAIN = ("train",)
_PREDICT = ("predict",)
_PIXELS = " (pixels of the shorter side)"

OTHER_NAMES = (  # the first one that is for a command counts
    _key(_AMP, "SOLVER.AMP.ENABLED", True, commands=_TRAIN),
    Replacement(_AMP, "write --dtype fp16", option="dtype"),
    _key(("augment",), "TEST.AUG.ENABLED", True),
    _key(
        _BATCH, "SOLVER.IMS_PER_BATCH", 8,
        " (training) or TEST.IMS_PER_BATCH 8 (evaluation)", commands=_TRAIN,
    ),
    _key(_BATCH, "TEST.IMS_PER_BATCH", 8, commands=("eval",)),
    Replacement(_BATCH, "write --batch-size 8", option="batch_size", commands=_PREDICT),
    Replacement(
        ("cfg", "config"), "a config is given by --config-file NAME", option="config"
    ),
    Replacement(
        ("backbone",), "a backbone belongs to a config: --config-file CenterNet2_R50_1x",
    ),
    Replacement(
        ("model",),
        "an architecture is given by --config-file NAME, trained weights by --weights FILE",
    ),
    Replacement(
        ("checkpoint", "ckpt", "load_from", "pretrained"), "weights are given by --weights FILE",
        option="weights",
    ),
    Replacement(
        ("cfg_options", "opts"),
        "leave it out: KEY VALUE pairs come last, such as SOLVER.BASE_LR 0.01",
        key="SOLVER.BASE_LR", value=0.01,
    ),
    Replacement(
        ("classes", "num_classes"),
        "leave it out: the classes come from the data or from the checkpoint",
    ),
    Replacement(
        ("conf", "conf_thres", "confidence_threshold"),
        "the minimum score is --score-threshold 0.3, of predict", option="score_threshold",
    ),
    Replacement(("dataset", "dataset_dir"), "data are given by --data my_data", option="data"),
    _key(
        ("epochs",), "SOLVER.MAX_EPOCHS", 10, ", or SOLVER.MAX_ITER 1000 (iterations),",
        commands=_TRAIN,
    ),
    Replacement(
        ("gpu_ids", "gpus", "launcher"), "the number of processes is --num-gpus 2, of train",
        option="num_gpus",
    ),
    Replacement(
        _SIZE,
        'write INPUT.MIN_SIZE_TRAIN "(640,)" and INPUT.MIN_SIZE_TEST 640'
        f"{_PIXELS} {AT_END}",
        key="INPUT.MIN_SIZE_TRAIN", value=(640,), commands=_TRAIN,
    ),
    _key(_SIZE, "INPUT.MIN_SIZE_TEST", 640, _PIXELS),
    Replacement(
        ("input", "source"),
        "images and folders come without an option: centernet2 predict photos/",
    ),
    _key(("iou", "iou_thres"), "MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.6),
    _key(("learning_rate", "lr", "lr0"), "SOLVER.BASE_LR", 0.01, commands=_TRAIN),
    _key(("lrf",), "SOLVER.BASE_LR_END", 0.0001, commands=_TRAIN),
    _key(("max_epochs",), "SOLVER.MAX_EPOCHS", 10, commands=_TRAIN),
    _key(("max_iter",), "SOLVER.MAX_ITER", 1000, commands=_TRAIN),
    Replacement(
        ("max_det",), "write --max-detections 100", option="max_detections", commands=_PREDICT
    ),
    Replacement(("save_crop",), "write --write crops", option="write", commands=_PREDICT),
    Replacement(
        ("save_conf", "save_txt"), "write --write yolo", option="write", commands=_PREDICT
    ),
    Replacement(
        ("mode", "task"), "the command itself says it: centernet2 train, eval or predict"
    ),
    _key(("momentum",), "SOLVER.MOMENTUM", 0.9, commands=_TRAIN),
    Replacement(
        ("name", "out", "out_dir", "project", "save_dir", "work_dir"),
        "the folder for the results is --output-dir runs/mine (--output in predict)",
        option="output_dir",
    ),
    _key(_WORKERS, "DATALOADER.NUM_WORKERS", 4, commands=("train", "eval")),
    _key(("optimizer",), "SOLVER.OPTIMIZER", "ADAMW", commands=_TRAIN),
    _key(("patience",), "TEST.PATIENCE", 5, " (evaluations)", commands=_TRAIN),
    _key(
        ("save_period",), "SOLVER.CHECKPOINT_PERIOD", 500, " (iterations)", commands=_TRAIN
    ),
    _key(("weight_decay",), "SOLVER.WEIGHT_DECAY", 0.0001, commands=_TRAIN),
)  # fmt: skip
OTHER_COMMANDS = {
    "demo": "predict",
    "detect": "predict",
    "evaluate": "eval",
    "finetune": "train",
    "infer": "predict",
    "inference": "predict",
    "pseudo_label": "pseudo-label",
    "test": "eval",
    "val": "eval",
    "validate": "check",
    "visualize": "show",
}
_DETECTOR = "the output folder of an evaluation or a training run, a results file or a checkpoint"
NEEDED_ARGUMENTS = {
    "data": "the folder or annotation file of a data set, or the name of one",
    "file": "an exported file, before the options",
    "first": _DETECTOR,
    "images": "the folder of images to label",
    "output": "the path of the result",
    "second": _DETECTOR,
    "to": "coco, yolo or voc",
    "weights": "a checkpoint such as runs/mine/model_final.pth, the folder of a training run, or "
    "zoo:NAME of a published model (centernet2 models lists them)",
}


def refuse_empty_words(words: Sequence[str]) -> None:
    """Raise ValueError for an empty word, which as a path would be the current folder.

    It comes from a variable of the shell that is not set. The value of a KEY may be empty.
    """
    for before, word in zip(["", *words], words, strict=False):
        option = before if word == "" and OPTION_WORD.fullmatch(before) else ""
        if word.endswith("=") and OPTION_WORD.fullmatch(word[:-1]):
            option = word[:-1]
        if option or (word == "" and not KEY.fullmatch(before)):
            raise ValueError(
                f"{option or 'an argument'} is empty; is a variable of the shell not set?"
            )


def refuse_unknown_words(
    words: Sequence[str], command: str, types_of_options: TypesOfOptions, commands: Iterable[str]
) -> None:
    """Raise ValueError for a word that looks like an option, but is none.

    Args:
        words: those after the command.
        types_of_options: returns the types of a command's options by name, such as "--data".
        commands: all of them, whose options may be meant.
    """
    own = types_of_options(command)
    for before, word in zip(["", *words], words, strict=False):
        if word == "--":
            return
        assigned = ASSIGNMENT.fullmatch(word)
        if word.startswith("-"):
            name = word.split("=")[0]
            is_number = name.lstrip("-").lower() in NUMBERS
            is_known = name in own or name in GENERAL_OPTIONS
            if OPTION_WORD.fullmatch(name) and not is_known and not is_number:
                raise ValueError(_unknown_option(name, command, types_of_options, commands))
            if KEY.fullmatch(key := name.lstrip("-")) and command in COMMANDS_WITH_KEYS:
                raise ValueError(f"{key} is written without hyphens: write {key} VALUE {AT_END}")
        elif assigned and own.get(before, bool) is bool and not Path(word).exists():
            _refuse_assignment(word, assigned[1], assigned[2], command, own.keys())


def refuse_fractions(words: Sequence[str], whole: Set[str]) -> None:
    """Raise ValueError for a fraction where an option takes a whole number.

    The argument parser would round it.
    """
    for before, word in zip(["", *words], words, strict=False):
        option, value = before, word
        if word.startswith("--") and "=" in word:
            option, value = word.split("=", 1)
        if option in whole and FRACTION.fullmatch(value):
            raise ValueError(f"{option} is '{value}'; it takes a whole number")


def _unknown_option(
    name: str, command: str, types_of_options: TypesOfOptions, commands: Iterable[str]
) -> str:
    own = types_of_options(command)
    start = f"`centernet2 {command}` has no option {name}"
    plain = _plain(name)
    same = f"--{plain.replace('_', '-')}"
    if same in own:
        return f"{start}; it is written {same}"
    if advice := _advice(plain, command):
        return f"{start}: {advice}"
    owners = [other for other in commands if name in types_of_options(other)]
    if owners:
        return f"{start}; it is an option of {', '.join(owners)}"
    hint = did_you_mean(name, sorted(own))
    return start + (hint or f"; `centernet2 {command} --help` lists them")


def _refuse_assignment(word: str, name: str, value: str, command: str, known: Set[str]) -> None:
    """Raise ValueError for NAME=VALUE where other packages take it."""
    option = f"--{_plain(name).replace('_', '-')}"
    start = f"'{word}' is not how `centernet2 {command}` takes an option"
    if option in known:
        raise ValueError(f"{start}; write {option} {value}")
    if KEY.fullmatch(name):
        raise ValueError(f"{start}; write {name} {value}")
    if advice := _advice(_plain(name), command):
        raise ValueError(f"{start}: {advice}")


def _advice(plain: str, command: str) -> str:
    """Return what replaces an option of another package; "": it is not known."""
    if replacement := find_replacement(plain, command):
        return replacement.text
    if any(plain in each.words for each in OTHER_NAMES):
        return f"`centernet2 {command}` does not use it; leave it out"
    return ""


def find_replacement(name: str, command: str) -> Replacement | None:
    """Find what replaces another package's option in a command, or in its function."""
    plain, command = _plain(name), OTHER_COMMANDS.get(command, command)
    return next((r for r in OTHER_NAMES if plain in r.words and r.is_for(command)), None)


def _plain(name: str) -> str:
    return name.lstrip("-").lower().replace("-", "_")


def describe_refusal(error: CycloptsError, commands: Sequence[str]) -> str:
    """Describe an argument parser's error in one sentence, in the words of the user."""
    command = " ".join(error.command_chain or ())
    match error:
        case MissingArgumentError():
            return _describe_missing(error, command)
        case UnknownCommandError():
            return _unknown_command((error.unused_tokens or ["?"])[0], commands)
        case CoercionError(token=token, argument=argument) if token and argument:
            kind = getattr(error.target_type, "__name__", str(error.target_type))
            wanted = {"int": "a whole number", "float": "a number", "bool": "no value"}
            name = token.keyword or argument.name
            return f"{name} is '{token.value}'; it takes {wanted.get(kind, kind)}"
        case RepeatArgumentError(token=token):
            return f"{token.keyword} is given twice; give it once"
        case UnusedCliTokensError():
            left = " ".join(error.unused_tokens or ())
            return f"`centernet2 {command}` takes no more arguments, but '{left}' is left over"
    error.verbose = False
    return " ".join(str(error).split())


def _describe_missing(error: MissingArgumentError, command: str) -> str:
    argument = error.argument
    if argument is None:
        return f"an argument of `centernet2 {command}` is missing"
    given = error.root_input_tokens or []
    keyword = next((word for word in reversed(given) if word in argument.names), None)
    field = argument.field_info.name
    needed = NEEDED_ARGUMENTS.get(field, "")
    if keyword is not None:
        return f"{keyword} has no value" + (f"; give {needed}" if needed else "")
    name = argument.name if argument.index is None else field.upper()
    return f"`centernet2 {command}` needs {name}" + (f": {needed}" if needed else "")


def _unknown_command(word: str, commands: Sequence[str]) -> str:
    if word.startswith("-"):
        return f"there is no option {word} before a command; `centernet2 --help` lists the commands"
    plain = word.lower().replace("-", "_")
    meant = OTHER_COMMANDS.get(plain, word)
    hint = did_you_mean(meant, commands) or "; `centernet2 --help` lists the commands"
    return f"there is no command '{word}'{hint}"
