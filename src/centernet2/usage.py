"""Messages about a command line that cannot be used.

Words are examined before the argument parser sees them: it would take a misspelled option for the
KEY of an override. Options of other packages get a sentence that says what to write here.
"""

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

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
NUMBERS = frozenset({"inf", "nan", "infinity"})  # after a hyphen, the value of an override


COMMANDS_WITH_KEYS = (
    "benchmark", "config", "eval", "explain", "export", "predict", "pseudo-label", "show", "train",
)  # fmt: skip
AT_END = "at the end of the command"
Advice = str | Mapping[str, str]  # by command; "": of all others


def _key(pair: str) -> str:
    return f"write {pair} {AT_END}"


def _training(pair: str) -> Advice:
    return {"train": _key(pair)}


_LEARNING_RATE = _training("SOLVER.BASE_LR 0.01")
_AMP = {"train": _key("SOLVER.AMP.ENABLED True"), "": "write --dtype fp16"}
_BATCH = {
    "train": _key("SOLVER.IMS_PER_BATCH 8 (training) or TEST.IMS_PER_BATCH 8 (evaluation)"),
    "eval": _key("TEST.IMS_PER_BATCH 8"),
    "predict": "write --batch-size 8",
}
_SIZE = {
    "train": _key(
        'INPUT.MIN_SIZE_TRAIN "(640,)" and INPUT.MIN_SIZE_TEST 640 (pixels of the shorter side)'
    ),
    "": _key("INPUT.MIN_SIZE_TEST 640 (pixels of the shorter side)"),
}
_WORKERS = dict.fromkeys(("train", "eval"), _key("DATALOADER.NUM_WORKERS 4"))
_FOLDER = "the folder for the results is --output-dir runs/mine (--output in predict)"
_WEIGHTS = "weights are given by --weights FILE"
_PAIRS = "leave it out: KEY VALUE pairs come last, such as SOLVER.BASE_LR 0.01"
_IMAGES = "images and folders come without an option: centernet2 predict photos/"
_SCORE = "the minimum score is --score-threshold 0.3, of predict"
_PROCESSES = "the number of processes is --num-gpus 2, of train"
_NO_CLASSES = "leave it out: the classes come from the data or from the checkpoint"
_NMS = _key("MODEL.ROI_HEADS.NMS_THRESH_TEST 0.6")

# by the name in another package, with underscores
OTHER_NAMES: dict[str, Advice] = {
    "amp": _AMP,
    "augment": _key("TEST.AUG.ENABLED True"),
    "backbone": "a backbone belongs to a config: --config-file CenterNet2_R50_1x",
    "batch": _BATCH,
    "batch_size": _BATCH,
    "cfg": "a config is given by --config-file NAME",
    "cfg_options": _PAIRS,
    "checkpoint": _WEIGHTS,
    "ckpt": _WEIGHTS,
    "classes": _NO_CLASSES,
    "conf": _SCORE,
    "conf_thres": _SCORE,
    "confidence_threshold": _SCORE,
    "config": "a config is given by --config-file NAME",
    "dataset": "data are given by --data my_data",
    "dataset_dir": "data are given by --data my_data",
    "epochs": _training("SOLVER.MAX_EPOCHS 10, or SOLVER.MAX_ITER 1000 (iterations),"),
    "gpu_ids": _PROCESSES,
    "gpus": _PROCESSES,
    "half": _AMP,
    "image_size": _SIZE,
    "img": _SIZE,
    "img_size": _SIZE,
    "imgsz": _SIZE,
    "input": _IMAGES,
    "iou": _NMS,
    "iou_thres": _NMS,
    "launcher": _PROCESSES,
    "learning_rate": _LEARNING_RATE,
    "load_from": _WEIGHTS,
    "lr": _LEARNING_RATE,
    "lr0": _LEARNING_RATE,
    "lrf": _training("SOLVER.BASE_LR_END 0.0001"),
    "max_epochs": _training("SOLVER.MAX_EPOCHS 10"),
    "max_iter": _training("SOLVER.MAX_ITER 1000"),
    "mode": "the command itself says it: centernet2 train, eval or predict",
    "model": "an architecture is given by --config-file NAME, trained weights by --weights FILE",
    "momentum": _training("SOLVER.MOMENTUM 0.9"),
    "name": _FOLDER,
    "num_classes": _NO_CLASSES,
    "num_workers": _WORKERS,
    "optimizer": _training("SOLVER.OPTIMIZER ADAMW"),
    "opts": _PAIRS,
    "out": _FOLDER,
    "out_dir": _FOLDER,
    "patience": _training("TEST.PATIENCE 5 (evaluations)"),
    "pretrained": _WEIGHTS,
    "project": _FOLDER,
    "save_dir": _FOLDER,
    "save_period": _training("SOLVER.CHECKPOINT_PERIOD 500 (iterations)"),
    "source": _IMAGES,
    "task": "the command itself says it: centernet2 train, eval or predict",
    "weight_decay": _training("SOLVER.WEIGHT_DECAY 0.0001"),
    "work_dir": _FOLDER,
    "workers": _WORKERS,
}
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
_CHECKPOINT = (
    "a checkpoint such as runs/mine/model_final.pth, the folder of a training run, "
    "or zoo:NAME of a published model (centernet2 models lists them)"
)
_DATA_SET = "the folder or annotation file of a data set, or the name of one"
_DETECTOR = "the output folder of an evaluation or a training run, a results file or a checkpoint"
NEEDED_ARGUMENTS = {
    "data": _DATA_SET,
    "first": _DETECTOR,
    "images": "the folder of images to label",
    "output": "the path of the result",
    "second": _DETECTOR,
    "to": "coco, yolo or voc",
    "weights": _CHECKPOINT,
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
    words: Sequence[str], command: str, options: Mapping[str, Mapping[str, bool]]
) -> None:
    """Raise ValueError for a word that is no option of a command, but looks like one.

    Args:
        words: those after the command.
        command: name of the command.
        options: options of every command, such as "--data", and whether each takes a value.
    """
    own = options[command]
    for before, word in zip(["", *words], words, strict=False):
        if word == "--":
            return
        assigned = ASSIGNMENT.fullmatch(word)
        if word.startswith("-"):
            name = word.split("=")[0]
            is_number = name.lstrip("-").lower() in NUMBERS
            is_known = name in own or name in GENERAL_OPTIONS
            if OPTION_WORD.fullmatch(name) and not is_known and not is_number:
                raise ValueError(_unknown_option(name, command, options))
            if KEY.fullmatch(key := name.lstrip("-")) and command in COMMANDS_WITH_KEYS:
                raise ValueError(f"{key} is written without hyphens: {_key(f'{key} VALUE')}")
        elif assigned and not own.get(before) and not Path(word).exists():
            _refuse_assignment(word, assigned[1], assigned[2], command, own.keys())


def _unknown_option(name: str, command: str, options: Mapping[str, Mapping[str, bool]]) -> str:
    start = f"`centernet2 {command}` has no option {name}"
    plain = _plain(name)
    same = f"--{plain.replace('_', '-')}"
    if same in options[command]:
        return f"{start}; it is written {same}"
    if advice := _advice(plain, command):
        return f"{start}: {advice}"
    owners = [other for other, known in options.items() if name in known]
    if owners:
        return f"{start}; it is an option of {', '.join(owners)}"
    hint = did_you_mean(name, sorted(options[command]))
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
    """Return what to write instead of an option of another package; "": it is not known."""
    advice = OTHER_NAMES.get(plain, "")
    unused = f"`centernet2 {command}` does not use it; leave it out"
    text = advice if isinstance(advice, str) else advice.get(command, advice.get("", unused))
    return unused if AT_END in text and command not in COMMANDS_WITH_KEYS else text


def named_elsewhere(name: str, command: str) -> tuple[str, tuple[str, str] | None]:
    """Return what another package's name of an option is here: an argument, and KEY and value."""
    advice = OTHER_NAMES.get(_plain(name), "")
    text = advice if isinstance(advice, str) else advice.get(command, "")
    option = re.search(r"--([a-z-]+)", text)
    pair = re.search(rf'({KEY.pattern}) "?(\([^)]*\)|[^\s",]+)', text)
    return _plain(option[1]) if option else "", (pair[1], pair[3]) if pair else None


def _plain(name: str) -> str:
    return name.lstrip("-").lower().replace("-", "_")


def describe_refusal(error: CycloptsError, commands: Sequence[str]) -> str:
    """Describe an error of the argument parser in one sentence, in the words of the user."""
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
