"""Arguments of the Python functions: types, ranges, empty paths, unknown names."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import centernet2
from centernet2.arguments import (
    NUMBERS,
    PATHS,
    SOURCES,
    WHOLE_NUMBERS,
    ArgumentValueError,
    as_argument,
    checked,
)
from centernet2.cli import app
from centernet2.jobs import InferenceOptions
from centernet2.jobs.compare import compare
from centernet2.jobs.convert import convert
from centernet2.jobs.predict import predict, split_overrides
from centernet2.jobs.show import show
from centernet2.jobs.train import TrainMode
from centernet2.launch import Processes
from centernet2.ranges import at_least, between


@pytest.mark.parametrize(("call", "name"), [
    (lambda empty: centernet2.train(data=empty), "data"),
    (lambda empty: centernet2.train(empty), "config"),
    (lambda empty: centernet2.train(data="x", output_dir=empty), "output_dir"),
    (lambda empty: centernet2.train(data="x", weights=empty), "weights"),
    (lambda empty: centernet2.evaluate(empty, data="x"), "model"),
    (lambda empty: centernet2.evaluate("x.pth", data=empty), "data"),
    (lambda empty: centernet2.evaluate("x.pth", report=empty), "report"),
    (lambda empty: predict(empty, weights="x.pth"), "images"),
    (lambda empty: predict("x.jpg", weights=empty), "weights"),
    (lambda empty: predict("x.jpg", weights="x.pth", output=empty), "output"),
    (lambda empty: convert("x", empty, to="coco"), "output"),
    (lambda empty: show(empty), "data"),
    (lambda empty: centernet2.load_predictor(empty), "weights"),
    (lambda empty: centernet2.load_model(empty), "weights"),
    (lambda empty: centernet2.build_model(empty), "config"),
])  # fmt: skip
def test_empty_path_is_not_the_current_folder(call: Callable[[Any], Any], name: str) -> None:
    for empty in ("", " "):
        with pytest.raises(ValueError, match=f"^{name} is empty; give a path"):
            call(empty)
    if name not in SOURCES:
        with pytest.raises(ValueError, match=rf"^{name} is Path\('\.'\), as an empty"):
            call(Path(""))


SCORES = {"score", "score_threshold"}  # checked by require_score
BY_TYPE = {int: WHOLE_NUMBERS, float: NUMBERS | SCORES, Path: PATHS}


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_every_argument_of_a_command_is_checked_by_its_type(command: str) -> None:
    for argument in app[command].assemble_argument_collection():
        if argument.hint in BY_TYPE and not is_of_processes(argument.name):
            assert argument.field_info.name in BY_TYPE[argument.hint], argument.name
        assert argument.hint is not bool or argument.field_info.default is False, argument.name


def is_of_processes(option: str) -> bool:
    """Whether an option belongs to the launcher, which checks it."""
    return option.removeprefix("--").replace("-", "_") in Processes.__dataclass_fields__


def test_current_folder_by_name_is_accepted() -> None:
    assert as_argument("output", ".") == "."


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_current_folder_as_a_path_is_a_source(name: str) -> None:
    assert as_argument(name, Path(".")) == Path(".")


def test_no_device_is_that_of_the_config() -> None:
    assert as_argument("device", None, "cpu") is None


@pytest.mark.parametrize(("call", "message"), [
    (lambda: centernet2.train(data=3), "data is 3; it takes a path"),
    (lambda: centernet2.train(data=["a", "b"]), "data is ['a', 'b']; it takes a path"),
    (lambda: centernet2.train(3), "config is 3; it takes a Config or a path"),
    (lambda: centernet2.train(data="x", device=7), "device is 7; it takes a text"),
    (lambda: centernet2.train(data="x", seed="3"), "seed is '3'; it takes a whole number"),
    (lambda: centernet2.train(data="x", seed=1.5), "seed is 1.5; it takes a whole number"),
    (lambda: centernet2.train(resume="yes"), "resume is 'yes'; it takes True or False"),
    (lambda: centernet2.train(mode={"dry_run": 1}), "mode is {'dry_run': 1}; it takes Train"),
    (lambda: centernet2.train(mode=TrainMode(val_fraction=1.5)),
     "val_fraction is 1.5; it takes a number from 0 and below 1"),
    (lambda: centernet2.evaluate("x", inference=InferenceOptions(device=3)),
     "device is 3; it takes a text"),
    (lambda: predict("x.jpg", weights=None), "weights is None; it takes a path"),
    (lambda: predict(np.zeros((4, 4, 3)), weights="x"), "predict reads image files, not a nd"),
    (lambda: compare("a", "b", seed=-1), "seed is -1; it takes a whole number from 0"),
    (lambda: compare("a", "b", confidence=float("nan")), "confidence is nan; it takes a num"),
    (lambda: show("x", count=True), "count is True; it takes a whole number from 1"),
    (lambda: centernet2.load_config(3), "a config is a path or the name of a packaged one"),
    (lambda: centernet2.load_model(None), "weights is None; it takes a path"),
    (lambda: centernet2.load_predictor("x", device=3), "device is 3; it takes a text"),
])  # fmt: skip
def test_wrong_type_is_one_sentence(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: centernet2.train(dat="x"), "train() has no argument 'dat'; did you mean 'data'?"),
    (lambda: centernet2.train(dry_run=True), "write mode=TrainMode(dry_run=...)"),
    (lambda: centernet2.train(epochs=3), "train(..., {'SOLVER.MAX_EPOCHS': 10})"),
    (lambda: centernet2.train(imgsz=64), "train(..., {'INPUT.MIN_SIZE_TRAIN': (640,)})"),
    (lambda: centernet2.train(optimizer="x"), "train(..., {'SOLVER.OPTIMIZER': 'ADAMW'})"),
    (lambda: centernet2.train(cfg="x"), "train() has no argument 'cfg'; it is called 'config'"),
    (lambda: centernet2.evaluate("x", batch=8), "evaluate(..., {'TEST.IMS_PER_BATCH': 8})"),
    (lambda: centernet2.train(nothing=1), "it has config, overrides, data,"),
    (lambda: centernet2.evaluate("x", device="cpu"), "inference=InferenceOptions(device=...)"),
    (lambda: predict("x.jpg", weights="x", conf=0.3), "it is called 'score_threshold'"),
    (lambda: predict("x.jpg"), "predict() is missing a required argument: 'weights'"),
])  # fmt: skip
def test_unknown_argument_gets_the_nearest_name(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


def test_numbers_and_devices_of_other_libraries_become_those_of_python() -> None:
    @checked(count=at_least(1), val_fraction=between(0, 1))
    def call(
        *, count: Any, val_fraction: Any, resume: Any = False, device: Any = 0, dtype: Any = 0
    ) -> list[Any]:
        return [count, val_fraction, resume, device, dtype]

    given = call(
        count=np.int64(3), val_fraction=torch.tensor(0.5), resume=np.bool_(True),
        device=torch.device("cpu"), dtype=torch.bfloat16,
    )  # fmt: skip
    assert given == [3, 0.5, True, "cpu", "bf16"]
    assert [type(each) for each in given] == [int, float, bool, str, str]
    with pytest.raises(ArgumentValueError, match="count is 0; it takes a whole number from 1"):
        call(count=np.uint8(0), val_fraction=0.5)


@pytest.mark.parametrize(("words", "message"), [
    (["compare", "a", "b", "--seed", "-1"], "--seed is -1; it takes a whole number from 0"),
    (["show", "x", "--count", "0"], "--count is 0; it takes a whole number from 1"),
    (["train", "--val-fraction", "1.5"], "--val-fraction is 1.5; it takes a number from 0"),
    (["eval", "--weights", " "], "--weights is empty; give a path"),
])  # fmt: skip
def test_commands_name_their_option(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        app(words, exit_on_error=False, print_error=False)


class FileName(os.PathLike):
    """A path of another library."""

    def __fspath__(self) -> str:
        return "c.jpg"


def test_images_of_predict_in_containers() -> None:
    words = (
        ["a.jpg", Path("b.jpg")], FileName(), (name for name in ["d.jpg"]), np.array(["e.jpg"]),
    )  # fmt: skip
    key = "TEST.DETECTIONS_PER_IMAGE"
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    assert split_overrides([*words, key, 3]) == (names, [key, 3])
    assert split_overrides(["a.jpg", {key: 3}]) == (["a.jpg"], [{key: 3}])
    assert split_overrides([[["a.jpg"], ["b.jpg"]]]) == (["a.jpg", "b.jpg"], [])


def test_command_takes_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^\.: no data set was recognized"):
        app(["check", "."], exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("given", "wanted"), [
    ("~/runs", "/home/me/runs"), (Path("~/runs"), Path("/home/me/runs")), ("~", "/home/me"),
    ("~x.png", "~x.png"), ("a/~/b", "a/~/b"),
])  # fmt: skip
def test_paths_may_begin_at_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, given: Any, wanted: Any
) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    @checked()
    def job(*images: Any, output: Any) -> Any:
        return images, output

    assert job(given, {"a": 1}, output=given) == ((wanted, {"a": 1}), wanted)
