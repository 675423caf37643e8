"""Messages about command lines that cannot be used."""

import logging
import re
import sys

import pytest

from centernet2 import cli
from centernet2.config import Config
from centernet2.config.tree import SLOTS
from centernet2.usage import (
    COMMANDS_WITH_KEYS,
    OTHER_COMMANDS,
    OTHER_NAMES,
    refuse_empty_words,
    refuse_unknown_words,
)


@pytest.mark.parametrize(("words", "message"), [
    ("evl", "there is no command 'evl'; did you mean 'eval'?"),
    ("val", "there is no command 'val'; did you mean 'eval'?"),
    ("--data x", "there is no option --data before a command"),
    ("predict", "`centernet2 predict` needs --weights: a checkpoint such as"),
    ("predict a.jpg --weights", "--weights has no value; give a checkpoint such as"),
    ("verify model.onnx --providers", "--providers has no value"),
    ("verify --providers CPU model.onnx", "needs FILE: an exported file, before the options"),
    ("benchmark --batch-sizes --sizes 64x64", "--batch-sizes has no value"),
    ("check", "`centernet2 check` needs DATA: the folder or annotation file"),
    ("convert data", "`centernet2 convert` needs OUTPUT: the path of the result"),
    ("convert data out", "`centernet2 convert` needs --to: coco, yolo or voc"),
    ("train --seed x", "--seed is 'x'; it takes a whole number"),
    ("threshold w --recall x", "--recall is 'x'; it takes a number"),
    ("train --seed 1 --seed 2", "--seed is given twice"),
    ("check a b c", "takes no more arguments, but 'b c' is left over"),
    ("predict a.jpg --wieghts w", "has no option --wieghts; did you mean '--weights'?"),
    ("train --output_dir x", "has no option --output_dir; it is written --output-dir"),
    ("eval --num-gpus 2", "has no option --num-gpus; it is an option of train"),
    ("train --epochs 3", "has no option --epochs: write SOLVER.MAX_EPOCHS 10"),
    ("train --epochs=3", "has no option --epochs: write SOLVER.MAX_EPOCHS 10"),
    ("train SOLVER.MAX_ITER 3 --imgsz 64", "has no option --imgsz: write INPUT.MIN_SIZE_TRAIN"),
    ("train epochs=3", "'epochs=3' is not how `centernet2 train` takes an option: write SOLVER"),
    ("train data=my_data", "takes an option; write --data my_data"),
    ("train SOLVER.MAX_ITER=3", "takes an option; write SOLVER.MAX_ITER 3"),
    ("train --half", "has no option --half: write SOLVER.AMP.ENABLED True"),
    ("eval --amp", "has no option --amp: write --dtype fp16"),
    ("eval --batch 8", "has no option --batch: write TEST.IMS_PER_BATCH 8"),
    ("predict a.jpg --batch 8", "`centernet2 predict` has no option --batch: write --batch-size 8"),
    ("predict a.jpg --save-txt", "has no option --save-txt: write --write yolo"),
    ("predict a.jpg --max_det 9", "has no option --max_det: write --max-detections 100"),
    ("eval --max-det 9", "--max-det: `centernet2 eval` does not use it; leave it out"),
    ("eval --lr 8", "has no option --lr: `centernet2 eval` does not use it; leave it out"),
    ("check a --imgsz 8", "--imgsz: `centernet2 check` does not use it; leave it out"),
    ("train --resume lr=0.01", "'lr=0.01' is not how `centernet2 train` takes an option"),
    ("predict --source a.jpg", "has no option --source: images and folders come without"),
    ("train --SOLVER.MAX_ITER 3", "SOLVER.MAX_ITER is written without hyphens: write SOLVER."),
    ("train -b 3", "has no option -b; "),
    ("predict a.jpg --max-detections 2.5", "--max-detections is '2.5'; it takes a whole number"),
    ("predict a.jpg --tile=512.5", "--tile is '512.5'; it takes a whole number"),
])  # fmt: skip
def test_message_is_one_line_of_the_log(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["centernet2", *words.split()])
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    (record,) = caplog.records
    assert message in record.getMessage()
    assert "\n" not in record.getMessage()
    assert "╭" not in "".join(capfd.readouterr())  # the corner of a box


def test_advice_names_options_that_exist() -> None:
    options = {
        name
        for command in cli.app
        if not command.startswith("-")
        for argument in cli.app[command].assemble_argument_collection()
        for name in argument.names
    }
    parameters = {name.removeprefix("--").replace("-", "_") for name in options} | {"config"}
    for each in OTHER_NAMES:
        keys = re.findall(r"[A-Z]\w*(?:\.[A-Z_0-9]+)+", each.text)
        written = re.findall(r"--[a-z-]+", each.text)
        assert set(keys) <= SLOTS.keys(), each
        assert set(written) <= options, each
        assert each.option in parameters | {""}, each
        assert set(each.commands) <= set(cli.app), each
        if each.key:
            assert each.key in keys, each
            assert str(each.value) in each.text, each
            Config().replace({each.key: each.value})
    assert set(OTHER_COMMANDS.values()) <= set(cli.app)


@pytest.mark.parametrize(("words", "named"), [
    (["predict", ""], "an argument"),
    (["predict", "a.jpg", "--output", ""], "--output"),
    (["predict", "a.jpg", "--output="], "--output"),
    (["train", "", "--output-dir", "runs"], "an argument"),
])  # fmt: skip
def test_empty_words_are_refused(words: list[str], named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} is empty; is a variable of the shell not set"):
        refuse_empty_words(words)


def test_value_of_a_key_may_be_empty() -> None:
    refuse_empty_words(["train", "--data", "a", "MODEL.WEIGHTS", ""])


@pytest.mark.parametrize(
    "words", [["--output-dir", "lr=0.01"], ["--class-map", "data=image"], ["--weights", "lr=1.pth"]]
)
def test_value_of_an_option_may_be_an_assignment(words: list[str]) -> None:
    taken = dict.fromkeys(("--output-dir", "--class-map", "--weights", "--data"), str)
    refuse_unknown_words(words, "train", lambda _: taken, ["train"])


def test_commands_with_keys_are_those_that_take_overrides() -> None:
    taking = {
        command
        for command in cli.app
        if not command.startswith("-")
        for argument in cli.app[command].assemble_argument_collection(parse_docstring=True)
        if "KEY VALUE" in (argument.parameter.help or "") and not argument.names[0].startswith("-")
    }
    assert taking == set(COMMANDS_WITH_KEYS)
